# Serving the destination to the LAN.
{ config, lib, ... }:
let
  inherit (lib) mkIf optional optionals;

  cfg = config.services.prefetch;
  inherit (cfg) serve;
  command = import ./command.nix { inherit lib cfg; };

  bracketed = address: if lib.hasInfix ":" address then "[${address}]" else address;
  endpoints = map (address: "${bracketed address}:${toString serve.port}") serve.addresses;
  isNumeric = address: builtins.match "[0-9.]+|.*:.*" address != null;
  isLoopback = address: address == "::1" || address == "localhost" || lib.hasPrefix "127." address;
in
{
  config = mkIf (cfg.enable && serve.enable) {
    assertions = [
      {
        assertion = command.isDirectory || cfg.destination == null;
        message = "services.prefetch.serve: only a directory or this machine's own store is served";
      }
      {
        assertion = serve.port >= 1024 || serve.socketActivation;
        message = "services.prefetch.serve: a port below 1024 takes socketActivation";
      }
      {
        assertion = serve.socketActivation -> builtins.all isNumeric serve.addresses;
        message = "services.prefetch.serve: socketActivation takes addresses in numbers, such as 127.0.0.1";
      }
      {
        assertion = serve.signingKeyFile != null -> !command.isDirectory;
        message = "services.prefetch.serve: a cache directory is signed by the sync, with settings.signingKeyFile";
      }
    ];
    warnings = optional (serve.openFirewall && builtins.all isLoopback serve.addresses)
      "services.prefetch.serve: the firewall is open, but only the loopback is listened on";

    networking.firewall.allowedTCPPorts = mkIf serve.openFirewall [ serve.port ];

    systemd.services.prefetch-serve = {
      description = "Serve what was prefetched to the LAN";
      wantedBy = mkIf (!serve.socketActivation) [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" "nix-daemon.socket" ];
      environment = {
        HOME = "/run/prefetch-serve";
        NIX_REMOTE = "daemon";
      };
      path = [ config.nix.package ];
      # Until the first sync has made it, there is nothing to serve.
      unitConfig.StartLimitIntervalSec = 0;
      serviceConfig = command.hardening // command.credentials serve.signingKeyFile // {
        Type = "notify";
        DynamicUser = true;
        RuntimeDirectory = "prefetch-serve";
        Restart = "on-failure";
        RestartSec = "30s";
        ExecStart = command.line
          ([ "serve" (if command.isDirectory then cfg.destination else "--store") ]
            ++ optionals (!serve.socketActivation)
              (builtins.concatMap (endpoint: [ "--listen" endpoint ]) endpoints)
            ++ optionals (serve.priority != null) [ "--priority" (toString serve.priority) ]
            ++ optionals (serve.title != null) [ "--title" serve.title ])
          serve.signingKeyFile;
      };
    };
    systemd.sockets.prefetch-serve = mkIf serve.socketActivation {
      description = "Listen for those who want what was prefetched";
      wantedBy = [ "sockets.target" ];
      listenStreams = endpoints;
    };
  };
}
