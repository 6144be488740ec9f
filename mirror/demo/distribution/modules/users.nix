# The users: a number and a home directory each, and the passwords of those who have one.
{ config, lib, pkgs, ... }:
let
  inherit (pkgs.stdenv) runCommandLocal;
  inherit (config.users) users;
  line = name: user: lib.concatStringsSep ":" [
    name
    (toString (user.uid or "-"))
    (user.home or "/home/${name}")
    (user.shell or "${pkgs.busybox}/bin/sh")
  ];
  withPassword = lib.filterAttrs (_: user: user ? hashedPassword) users;
in
{
  environment.etc = {
    "passwd".source = runCommandLocal "passwd"
      {
        tools = [ pkgs.user-check ];
        text = lib.lines (lib.mapAttrsToList line users);
      } ''
      echo "$text" >users
      user-check users >"$out"
    '';
  } // lib.optionalAttrs (withPassword != { }) {
    "shadow".source = runCommandLocal "shadow"
      {
        tools = [ pkgs.password-check ];
        text = lib.lines (lib.mapAttrsToList (name: user: "${name}:${user.hashedPassword}:::::::") withPassword);
      } ''
      echo "$text" >"$out"
      password-check "$out"
    '';
  };
}
