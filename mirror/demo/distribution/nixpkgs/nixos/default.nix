# `<nixpkgs/nixos>`: the system that a configuration file describes.
{ configuration ? <nixos-config>, system ? builtins.currentSystem }:
let
  evaluated = import ../../system.nix {
    lib = import ../../lib.nix;
    pkgs = import ../default.nix { inherit system; };
    modules = [ configuration ];
  };
in
{
  inherit (evaluated) config pkgs;
  system = evaluated.config.system.build.toplevel;
}
