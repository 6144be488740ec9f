# Units: a service has a `command`, a timer a `calendar`.
{ config, lib, pkgs, ... }:
let
  inherit (pkgs.stdenv) runCommandLocal;

  unit = name: text: runCommandLocal "unit-${name}"
    {
      tools = [ pkgs.unit-check ];
      inherit text;
    } ''
    echo "$text" >"$out"
    unit-check "$out"
  '';
  units =
    lib.mapAttrsToList (name: service: unit "${name}.service" "ExecStart=${service.command}")
      config.systemd.services
    ++ lib.mapAttrsToList (name: timer: unit "${name}.timer" "OnCalendar=${timer.calendar}")
      config.systemd.timers;
  enabled = config.services.dnsmasq.enable;
in
{
  system.build.units = runCommandLocal "system-units" { inherit units; } ''
    mkdir "$out"
    for unit in $units; do
      ln -s "$unit" "$out/''${unit#*-unit-}"
    done
  '';
  environment.etc = {
    "systemd/system".source = config.system.build.units;
  } // lib.optionalAttrs enabled {
    "dnsmasq.conf".source = runCommandLocal "dnsmasq.conf" { tools = [ pkgs.dnsmasq-check ]; } ''
      dnsmasq-check
      echo "addn-hosts=/etc/dns-blocklist/hosts" >"$out"
    '';
  };
  systemd.services = lib.optionalAttrs enabled {
    dnsmasq.command = "${pkgs.dnsmasq}/bin/dnsmasq -C /etc/dnsmasq.conf";
  };
}
