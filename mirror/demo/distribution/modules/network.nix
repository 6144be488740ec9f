# Names, ports and wireless networks, each a file in /etc that a tool of its own makes.
{ config, lib, pkgs, ... }:
let
  inherit (pkgs.stdenv) runCommandLocal writeText;
  inherit (config) networking;
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

    "firewall.rules".source = writeText "firewall.rules" (lib.lines
      (map (port: "accept tcp ${toString port}") networking.firewall.allowedTCPPorts
        ++ [ "drop" ]));
  } // lib.optionalAttrs (networking.wireless.networks != { }) {
    "wpa.conf".source = runCommandLocal "wpa.conf"
      {
        tools = [ pkgs.wifi-format ];
        networks = lib.toJSON networking.wireless.networks;
      } ''
      wifi-format
      echo "$networks" >"$out"
    '';
  };
  systemd.services = lib.optionalAttrs (networking.wireless.networks != { }) {
    wpa.command = "${pkgs.wpa}/bin/wpa /etc/wpa.conf";
  };
}
