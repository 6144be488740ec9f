{
  description = "A Nix source-and-dependency prefetch mirror: know, and prove, that a host can be rebuilt offline";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forEachSystem = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
    in
    {
      packages = forEachSystem (pkgs: rec {
        prefetch = pkgs.callPackage ./package.nix { };
        default = prefetch;
      });

      apps = forEachSystem (pkgs: rec {
        prefetch = {
          type = "app";
          program = "${self.packages.${pkgs.system}.prefetch}/bin/prefetch";
          meta.description = "The prefetch command";
        };
        default = prefetch;
      });

      devShells = forEachSystem (pkgs: {
        default = pkgs.callPackage ./shell.nix {
          inherit (self.packages.${pkgs.system}) prefetch;
        };
      });

      # The package's own build runs the tests that need no network namespace of their own.
      checks = forEachSystem (pkgs: {
        inherit (self.packages.${pkgs.system}) prefetch;
      });
    };
}
