# The distribution as one function: hosts, packages and shells, by the names that a flake gives them.
# `edits` are modules that every host takes in after its own.
{ system ? "x86_64-linux"
, edits ? [ ]
, pins ? builtins.fromJSON (builtins.readFile ./pins.json)
}:
let
  lib = import ./lib.nix;
  systems = [ "x86_64-linux" "aarch64-linux" ];
  forSystems = function: builtins.listToAttrs (map (name: { inherit name; value = function name; }) systems);
  distribution = forSystems (system: import ./packages.nix { inherit system pins; });

  host = system: module: import ./system.nix {
    inherit lib;
    inherit (distribution.${system}) pkgs;
    modules = [ module ] ++ edits;
  };
in
{
  nixosConfigurations = {
    laptop = host "x86_64-linux" ./hosts/laptop.nix;
    pi = host "aarch64-linux" ./hosts/pi.nix;
  };
  packages = builtins.mapAttrs (_: one: one.packages) distribution;
  cached = builtins.mapAttrs (_: one: one.cached) distribution;
  pkgs = distribution.${system}.pkgs;

  devShells = forSystems (system:
    let inherit (distribution.${system}) pkgs; in {
      default = pkgs.stdenv.mkDerivation {
        pname = "shell";
        version = "0";
        nativeBuildInputs = [ pkgs.compiler pkgs.gettext pkgs.debugger pkgs.make-wrapper ];
        buildInputs = [ pkgs.libresolve.dev ];
        buildCommand = ''echo "$nativeBuildInputs $buildInputs" >"$out"'';
      };
    });
}
