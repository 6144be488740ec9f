# A wireless network that is met on the way, by wpa_supplicant: the daemon, its unit, and its
# configuration. pskRaw is what wpa_passphrase prints. Where NetworkManager runs, networks are no
# part of the configuration: it needs no such edit, and refuses it.
{
  networking.wireless = {
    enable = true;
    networks."train".pskRaw = "6a381cea59c7a2d6b30736ba0e6f397f7564a044bcdb7a327a1d16a1ed91b327";
  };
}
