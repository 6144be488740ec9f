{ lib, pkgs, ... }:
let
  inherit (lib) mkEnableOption mkOption types;

  # A path as text. A path literal would be copied to the store, where everyone can read it.
  absolutePath = types.strMatching "/.*";
  optional = type: types.nullOr type;
in
{
  options.services.prefetch = {
    enable = mkEnableOption "fetching and keeping what a rebuild of each listed host needs";

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
      description = "Lists of targets. They are read in place at each run.";
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
      description = "User who runs the services and owns the destination. The default user is created.";
    };

    group = mkOption {
      type = types.str;
      default = "prefetch";
      description = "Group of that user. The default group is created.";
    };

    settings = {
      level = mkOption {
        type = optional (types.enum [ "runtime" "rebuild" "sources" "full" ]);
        default = null;
        description = "How much of the build graph to keep, instead of the levels in the lists.";
      };
      jobs = mkOption {
        type = optional (types.ints.between 1 512);
        default = null;
        description = "Number of paths to obtain at the same time; null for the default of prefetch.";
      };
      limitRate = mkOption {
        type = optional types.str;
        default = null;
        example = "2M";
        description = "Maximum download rate in bytes per second.";
      };
      keepGoing = mkOption {
        type = types.bool;
        default = true;
        description = "Whether to continue after a path that cannot be obtained.";
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
          Secret key that signs what is made here (`prefetch key generate`). systemd passes it to the
          service, so only root needs to be able to read it.
        '';
      };
      onChange = mkOption {
        type = optional types.str;
        default = null;
        description = "Command that runs after a sync that kept something new, as the same user.";
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
        description = "Whether a timer starts the sync. It can always be started by hand.";
      };
      onCalendar = mkOption {
        type = types.str;
        default = "03:30";
        description = "When to sync: a calendar event as in systemd.time(7).";
      };
      randomizedDelaySec = mkOption {
        type = types.str;
        default = "30m";
        description = "Maximum random delay, which spreads the load on servers.";
      };
      persistent = mkOption {
        type = types.bool;
        default = true;
        description = "Whether to catch up on a run that was missed while the machine was off.";
      };
    };

    prune = {
      enable = mkEnableOption "removing old generations with a timer";
      keep = mkOption {
        type = types.ints.positive;
        default = 3;
        description = "Number of generations to keep for each target.";
      };
      keepWithin = mkOption {
        type = types.str;
        default = "30d";
        description = "Age up to which all generations are kept.";
      };
      keepDaily = mkOption {
        type = types.nullOr types.ints.positive;
        default = null;
        description = "Number of days of which the newest complete generation is also kept.";
      };
      keepWeekly = mkOption {
        type = types.nullOr types.ints.positive;
        default = null;
        description = "Number of weeks of which the newest complete generation is also kept.";
      };
      keepMonthly = mkOption {
        type = types.nullOr types.ints.positive;
        default = null;
        description = "Number of months of which the newest complete generation is also kept.";
      };
      maxSize = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "200G";
        description = "Size above which the oldest generations are removed although other rules keep them.";
      };
      removed = mkOption {
        type = types.bool;
        default = false;
        description = "Whether to remove targets that have left the lists.";
      };
      served = mkOption {
        type = types.bool;
        default = false;
        description = ''
          Whether another web server, such as nginx, serves the destination. What is dropped then
          stays available for an hour, as it does with `prefetch serve`.
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
          Addresses to listen on. With socketActivation they must be numeric, since systemd accepts
          no names such as localhost.
        '';
      };
      port = mkOption {
        type = types.port;
        default = 8080;
        description = "Port to listen on. A port below 1024 needs socketActivation.";
      };
      openFirewall = mkOption {
        type = types.bool;
        default = false;
        description = "Whether to open the port in the firewall.";
      };
      priority = mkOption {
        type = optional types.ints.unsigned;
        default = null;
        description = "Priority among a client's caches; lower is asked first (cache.nixos.org has 40).";
      };
      title = mkOption {
        type = optional types.str;
        default = null;
        example = "The cache in the hall";
        description = "Title of the status page; null is the name of what is served.";
      };
      signingKeyFile = mkOption {
        type = optional absolutePath;
        default = null;
        description = ''
          Secret key that signs paths served from a Nix store. A cache directory is signed by the
          sync.
        '';
      };
      socketActivation = mkOption {
        type = types.bool;
        default = false;
        description = "Whether systemd listens and starts the server at the first request.";
      };
    };
  };
}
