# The options of NixOS that the project's module sets, as NixOS declares them: names and types.
{ lib, ... }:
let
  inherit (lib) mkOption types;

  option = type: default: mkOption { inherit type default; };
  texts = option (types.listOf types.str) [ ];
  # What systemd's own settings may be; a list is written as several lines.
  setting = types.nullOr (types.oneOf [ types.bool types.int types.str types.path (types.listOf types.str) ]);
  settings = option (types.attrsOf setting) { };

  unit = {
    description = option types.str "";
    wants = texts;
    after = texts;
    wantedBy = texts;
    unitConfig = settings;
  };
  unitsOf = options: option (types.attrsOf (types.submodule { options = unit // options; })) { };
in
{
  options = {
    assertions = option (types.listOf (types.submodule {
      options = {
        assertion = mkOption { type = types.bool; };
        message = mkOption { type = types.str; };
      };
    })) [ ];
    warnings = texts;
    environment = {
      systemPackages = option (types.listOf types.package) [ ];
      etc = option (types.attrsOf (types.submodule { options.text = mkOption { type = types.lines; }; })) { };
    };
    networking.firewall.allowedTCPPorts = option (types.listOf types.port) [ ];
    nix.package = mkOption { type = types.package; };
    nix.nixPath = texts;
    systemd = {
      services = unitsOf {
        environment = option (types.attrsOf (types.nullOr (types.either types.str types.path))) { };
        path = option (types.listOf (types.either types.package types.str)) [ ];
        restartIfChanged = option types.bool true;
        serviceConfig = settings;
      };
      timers = unitsOf { timerConfig = settings; };
      sockets = unitsOf { listenStreams = texts; socketConfig = settings; };
      tmpfiles.rules = texts;
    };
    users = {
      users = option (types.attrsOf (types.submodule {
        options = {
          isSystemUser = option types.bool false;
          group = option types.str "";
          home = option types.path "/var/empty";
          description = option types.str "";
        };
      })) { };
      groups = option (types.attrsOf (types.submodule { })) { };
    };
  };
}
