{ lib, pkgs, ... }:
let
  inherit (lib) mkEnableOption mkOption types;

  # A path as text: one written without quotes would be copied to the store, where all can read it.
  absolutePath = types.strMatching "/.*";
  optional = type: types.nullOr type;
in
{
  options.services.prefetch = {
    enable = mkEnableOption "keeping ready what the rebuild of each listed host needs";

    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ../../package.nix { };
      defaultText = lib.literalExpression "pkgs.callPackage ./package.nix { }";
      description = "The prefetch to run.";
    };

    targets = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = {
        laptop = "/etc/nixos#laptop edits=hosts,wifi";
        pi = "github:example/hosts#pi level=sources";
      };
      description = ''
        Targets by name: each an installable and its options, as in a list. Paths must be absolute.
      '';
    };

    lists = mkOption {
      type = types.listOf absolutePath;
      default = [ ];
      example = [ "/etc/nixos/hosts.txt" ];
      description = "Files that list targets. They are read at each run, where they are.";
    };

    destination = mkOption {
      type = optional types.str;
      default = "/var/lib/prefetch/cache";
      example = "/srv/cache";
      description = ''
        A directory, which becomes a binary cache; or the URL of a Nix store; or null, for this
        machine's own Nix store.
      '';
    };

    user = mkOption {
      type = types.str;
      default = "prefetch";
      description = "Who fetches, prunes, and owns what was fetched; made unless another is named.";
    };

    group = mkOption {
      type = types.str;
      default = "prefetch";
      description = "The group of that user; made unless another is named.";
    };

    settings = {
      level = mkOption {
        type = optional (types.enum [ "runtime" "rebuild" "sources" "full" ]);
        default = null;
        description = "How much of the build graph to keep, instead of what the lists say.";
      };
      jobs = mkOption {
        type = optional (types.ints.between 1 512);
        default = null;
        description = "How many paths are obtained at once; null is for prefetch's own choice.";
      };
      limitRate = mkOption {
        type = optional types.str;
        default = null;
        example = "2M";
        description = "How many bytes a second are fetched at most.";
      };
      keepGoing = mkOption {
        type = types.bool;
        default = true;
        description = "Whether to go on after a path that cannot be obtained.";
      };
      build = mkOption {
        type = types.bool;
        default = false;
        description = "Whether to build, and keep, what no binary cache has.";
      };
      signingKeyFile = mkOption {
        type = optional absolutePath;
        default = null;
        example = "/etc/prefetch/signing-key";
        description = ''
          The secret key that signs what is made here (`prefetch key generate`). systemd hands it
          to the service, so that root alone need be able to read it.
        '';
      };
      onChange = mkOption {
        type = optional types.str;
        default = null;
        description = "A command that is run after a sync that changed something, as the same user.";
      };
      extraArguments = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "--no-archives" ];
        description = "Further arguments of `prefetch sync`.";
      };
    };

    timer = {
      enable = mkOption {
        type = types.bool;
        default = true;
        description = "Whether to sync by a timer; the service can always be started by hand.";
      };
      onCalendar = mkOption {
        type = types.str;
        default = "03:30";
        description = "When to sync: a calendar event as in systemd.time(7).";
      };
      randomizedDelaySec = mkOption {
        type = types.str;
        default = "30m";
        description = "How much later at most, by chance, so that not everyone asks at once.";
      };
      persistent = mkOption {
        type = types.bool;
        default = true;
        description = "Whether a run that was missed, the machine being off, is made up for.";
      };
    };

    prune = {
      enable = mkEnableOption "dropping old generations by a timer";
      keep = mkOption {
        type = types.ints.positive;
        default = 3;
        description = "How many generations of each target stay.";
      };
      keepWithin = mkOption {
        type = types.str;
        default = "30d";
        description = "Up to which age generations stay, however many there are.";
      };
      removed = mkOption {
        type = types.bool;
        default = false;
        description = "Whether targets that left the lists go, too.";
      };
      served = mkOption {
        type = types.bool;
        default = false;
        description = ''
          Whether a web server such as nginx serves the destination: what is dropped is then held
          back for an hour, as it is where `prefetch serve` runs.
        '';
      };
      onCalendar = mkOption {
        type = types.str;
        default = "weekly";
        description = "When to prune: a calendar event as in systemd.time(7).";
      };
    };

    serve = {
      enable = mkEnableOption "serving the destination over HTTP";
      addresses = mkOption {
        type = types.listOf types.str;
        default = [ "127.0.0.1" ];
        example = [ "0.0.0.0" "::" ];
        description = ''
          The addresses to listen on, the loopback alone unless told otherwise. With
          socketActivation names such as localhost are refused: systemd takes numbers alone.
        '';
      };
      port = mkOption {
        type = types.port;
        default = 8080;
        description = "The port to listen on; one below 1024 takes socketActivation.";
      };
      openFirewall = mkOption {
        type = types.bool;
        default = false;
        description = "Whether to let other machines through the firewall to the port.";
      };
      priority = mkOption {
        type = optional types.ints.unsigned;
        default = null;
        description = "How early clients ask it, lower is earlier (cache.nixos.org has 40).";
      };
      signingKeyFile = mkOption {
        type = optional absolutePath;
        default = null;
        description = ''
          The secret key that signs what is served of a Nix store, which has no signature yet. A
          cache directory is signed by the sync.
        '';
      };
      socketActivation = mkOption {
        type = types.bool;
        default = false;
        description = "Whether systemd listens, and starts the server at the first request.";
      };
    };
  };
}
