# Names, ports and wireless networks, each a file in /etc that a tool of its own makes.
{ config, lib, pkgs, ... }:
let
  inherit (pkgs.stdenv) runCommandLocal writeText;
  inherit (config) networking;
  ports = networking.firewall.allowedTCPPorts;
in
{
  environment.etc = {
    "hosts".source = runCommandLocal "hosts"
      {
        tools = [ pkgs.hosts-format ];
        text = lib.lines (lib.mapAttrsToList
          (address: names: "${address} ${lib.concatStringsSep " " names}")
          networking.hosts);
        passAsFile = [ "text" ];
      } ''hosts-format "$textPath" >"$out"'';

    "firewall.rules".source =
      if ports == [ ] then writeText "firewall.rules" "drop"
      else
        runCommandLocal "firewall.rules"
          {
            tools = [ pkgs.firewall-check ];
            text = lib.lines (map (port: "accept tcp ${toString port}") ports ++ [ "drop" ]);
          } ''
          echo "$text" >"$out"
          firewall-check "$out"
        '';
  } // lib.optionalAttrs networking.wireless.enable {
    "wpa.conf".source = runCommandLocal "wpa.conf"
      {
        tools = [ pkgs.wifi-format ];
        networks = lib.toJSON networking.wireless.networks;
      } ''
      wifi-format
      echo "$networks" >"$out"
    '';
  };
  systemd.services = lib.optionalAttrs networking.wireless.enable {
    wpa.serviceConfig.ExecStart = "${pkgs.wpa}/bin/wpa /etc/wpa.conf";
  };
}
