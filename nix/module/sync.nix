# Timers and services for syncing and pruning.
{ config, lib, pkgs, ... }:
let
  inherit (lib) mkIf mkMerge optional optionals;

  cfg = config.services.prefetch;
  command = import ./command.nix { inherit lib cfg; };

  state = "/var/lib/prefetch";
  roots = "/nix/var/nix/gcroots/prefetch";
  isElsewhere = command.isDirectory && !lib.hasPrefix "${state}/" cfg.destination;

  valued = option: value: optionals (value != null) [ option (toString value) ];

  service = {
    environment = {
      HOME = state;
      XDG_CACHE_HOME = "/var/cache/prefetch";
      NIX_REMOTE = "daemon";
    };
    path = [ config.nix.package pkgs.gitMinimal pkgs.openssh ];
    # A switch to a new configuration neither stops a run nor waits for one.
    restartIfChanged = false;
    serviceConfig = command.hardening // {
      Type = "oneshot";
      User = cfg.user;
      Group = cfg.group;
      StateDirectory = "prefetch";
      CacheDirectory = "prefetch";
      ReadWritePaths = [ "-${roots}" ] ++ optional isElsewhere (command.quoted cfg.destination);
      # An interrupted run is no failure: the next run continues.
      SuccessExitStatus = 130;
      Nice = 10;
      IOSchedulingClass = "idle";
    };
  };
in
{
  config = mkIf cfg.enable (mkMerge [
    {
      assertions = [
        {
          assertion = command.lists != [ ];
          message = "services.prefetch: name what to keep, in `targets` or in `lists`";
        }
      ];

      environment.systemPackages = [ cfg.package ];
      environment.etc = mkIf (cfg.targets != { }) {
        ${command.targetsFile}.text = lib.concatStrings
          (lib.mapAttrsToList (name: target: "${name} = ${target}\n") cfg.targets);
      };

      systemd.tmpfiles.rules = [ "d ${roots} 0755 ${cfg.user} ${cfg.group} -" ]
        ++ optional isElsewhere "d ${command.quoted cfg.destination} 0755 ${cfg.user} ${cfg.group} -";

      systemd.services.prefetch-sync = mkMerge [
        service
        {
          description = "Fetch what the rebuild of each listed host needs";
          wants = [ "network-online.target" ];
          after = [ "network-online.target" "nix-daemon.socket" ];
          environment.NIX_PATH = mkIf (config.nix.nixPath != [ ])
            (builtins.concatStringsSep ":" config.nix.nixPath);
          serviceConfig = command.credentials cfg.settings.signingKeyFile // {
            ExecStart = command.line
              ([ "sync" ] ++ command.lists ++ command.to ++ [ "--skip-if-running" ]
                ++ optional cfg.settings.keepGoing "--keep-going"
                ++ optional cfg.settings.build "--build"
                ++ valued "--level" cfg.settings.level
                ++ valued "--jobs" cfg.settings.jobs
                ++ valued "--limit-rate" cfg.settings.limitRate
                ++ valued "--on-change" cfg.settings.onChange
                ++ cfg.settings.extraArguments)
              cfg.settings.signingKeyFile;
          };
        }
      ];
      systemd.timers.prefetch-sync = mkIf cfg.timer.enable {
        description = "Fetch what the rebuild of each listed host needs, when it is time";
        wantedBy = [ "timers.target" ];
        timerConfig = {
          OnCalendar = cfg.timer.onCalendar;
          RandomizedDelaySec = cfg.timer.randomizedDelaySec;
          Persistent = cfg.timer.persistent;
        };
      };

      users.users = mkIf (cfg.user == "prefetch") {
        prefetch = {
          isSystemUser = true;
          inherit (cfg) group;
          home = state;
          description = "Nix prefetch mirror";
        };
      };
      users.groups = mkIf (cfg.group == "prefetch") { prefetch = { }; };
    }

    (mkIf cfg.prune.enable {
      systemd.services.prefetch-prune = mkMerge [
        service
        {
          description = "Drop old generations of what was prefetched";
          # Only one run at a time holds the destination: wait for a running sync.
          after = [ "nix-daemon.socket" "prefetch-sync.service" ];
          serviceConfig = {
            ExecStart = command.line
              ([ "prune" ] ++ command.lists ++ command.to
                ++ valued "--keep" cfg.prune.keep
                ++ valued "--keep-within" cfg.prune.keepWithin
                ++ valued "--keep-daily" cfg.prune.keepDaily
                ++ valued "--keep-weekly" cfg.prune.keepWeekly
                ++ valued "--keep-monthly" cfg.prune.keepMonthly
                ++ valued "--max-size" cfg.prune.maxSize
                ++ optional cfg.prune.removed "--removed"
                ++ optional cfg.prune.served "--served")
              null;
            PrivateNetwork = true;
            RestrictAddressFamilies = "AF_UNIX";
          };
        }
      ];
      systemd.timers.prefetch-prune = {
        description = "Drop old generations of what was prefetched, when it is time";
        wantedBy = [ "timers.target" ];
        timerConfig = {
          OnCalendar = cfg.prune.onCalendar;
          RandomizedDelaySec = cfg.timer.randomizedDelaySec;
          Persistent = cfg.timer.persistent;
        };
      };
    })
  ]);
}
