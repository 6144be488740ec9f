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

      # What NixOS makes of the module: its services, each with the command that it runs.
      evaluatedModule =
        system:
        let
          inherit (nixpkgs) lib;
          inherit
            (lib.nixosSystem {
              modules = [
                self.nixosModules.default
                {
                  nixpkgs.hostPlatform = system;
                  services.prefetch = {
                    enable = true;
                    targets.laptop = "/etc/nixos#laptop edits=hosts,wifi";
                    prune.enable = true;
                    serve.enable = true;
                  };
                }
              ];
            })
            config
            ;
          isOurs = name: _: lib.hasPrefix "prefetch-" name;
        in
        builtins.mapAttrs (_: service: service.serviceConfig.ExecStart) (
          lib.filterAttrs isOurs config.systemd.services
        );
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

      nixosModules = rec {
        prefetch.imports = [ ./nix/module ];
        default = prefetch;
      };

      # The package's own build runs the tests that need no network namespace of their own.
      checks = forEachSystem (pkgs: {
        inherit (self.packages.${pkgs.system}) prefetch;
        module = pkgs.writeText "prefetch-module.json" (builtins.toJSON (evaluatedModule pkgs.system));
      });
    };
}
