# Units: services, with what they run in `serviceConfig` or as a `script`, and timers.
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
  section = mapped: lib.mapAttrsToList (name: value: "${name}=${toString value}") mapped;
  wanted = unit: map (target: "WantedBy=${target}") (unit.wantedBy or [ ]);

  # What a service's shell commands are: a file of their own, looked over when it is made.
  scriptOf = name: text: runCommandLocal "script-${name}"
    {
      tools = [ pkgs.script-check ];
      inherit text;
      inherit (pkgs) busybox;
    } ''
    echo "#!$busybox/bin/sh" >"$out"
    echo "$text" >>"$out"
    chmod +x "$out"
    script-check "$out"
  '';
  serviceText = name: service: lib.lines (
    lib.optionals (service ? description) [ "Description=${service.description}" ]
    ++ section (service.serviceConfig or { })
    ++ lib.optionals (service ? script) [ "ExecStart=${scriptOf name service.script}" ]
    ++ wanted service
  );
  timerText = timer: lib.lines (section timer.timerConfig ++ wanted timer);

  units =
    lib.mapAttrsToList (name: service: unit "${name}.service" (serviceText name service))
      config.systemd.services
    ++ lib.mapAttrsToList (name: timer: unit "${name}.timer" (timerText timer))
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
    "dnsmasq.conf".source = runCommandLocal "dnsmasq.conf"
      {
        tools = [ pkgs.dnsmasq-check ];
        settings = lib.toJSON config.services.dnsmasq.settings;
      } ''
      dnsmasq-check
      echo "addn-hosts=/etc/dns-blocklist/hosts" >"$out"
      echo "$settings" >>"$out"
    '';
  };
  systemd.services = lib.optionalAttrs enabled {
    dnsmasq.serviceConfig.ExecStart = "${pkgs.dnsmasq}/bin/dnsmasq -C /etc/dnsmasq.conf";
  };
}
