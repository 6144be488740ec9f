# /etc: each entry of environment.etc has a `text` or a `source`.
{ config, lib, pkgs, ... }:
let
  inherit (pkgs.stdenv) runCommandLocal writeText;
  inherit (pkgs) files;
  entries = config.environment.etc;
  sourceOf = name: entry:
    entry.source or (writeText "etc-${baseNameOf name}" entry.text);
in
{
  environment.etc = {
    "hostname".text = config.networking.hostName;
    "ssl/certificates.pem".source = files.certificates;
    "issue-banner".source = files.banner;
    "probe".source = files.probe;
    "zones".source = files.zones;
    "timetable".source = files.timetable;
    "fonts".source = files.fonts;
    "dns-blocklist".source = files.blocklist;
  };
  system.build.etc = runCommandLocal "etc"
    {
      tools = [ pkgs.make-etc ];
      names = lib.attrNames entries;
      sources = lib.mapAttrsToList sourceOf entries;
    } ''make-etc "$out" "$names" "$sources"'';
}
