# A system from modules: the distribution's own, then the caller's.
{ lib, pkgs, modules }:
lib.evalModules {
  inherit lib pkgs;
  options = import ./modules/options.nix;
  modules = [
    ./modules/defaults.nix
    ./modules/etc.nix
    ./modules/network.nix
    ./modules/services.nix
    ./modules/users.nix
    ./modules/toplevel.nix
  ] ++ modules;
}
