# NixOS module: keep what the rebuild of each listed host needs, and serve it to the LAN.
#
# The units are those of docs/systemd/, which tests/house/test_units.py compares them with.
{
  imports = [
    ./options.nix
    ./sync.nix
    ./serve.nix
  ];
}
