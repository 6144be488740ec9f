# The users: a number and a home directory each.
{ config, lib, pkgs, ... }: {
  environment.etc."passwd".source = pkgs.stdenv.runCommandLocal "passwd"
    {
      tools = [ pkgs.user-check ];
      text = lib.lines (lib.mapAttrsToList
        (name: user: "${name}:${toString user.uid}:${user.home}:${user.shell or "${pkgs.busybox}/bin/sh"}")
        config.users.users);
    } ''
    echo "$text" >users
    user-check users >"$out"
  '';
}
