# The system itself: the kernel and its first file system, the programs, and what activates it all.
{ config, lib, pkgs, ... }:
let
  inherit (pkgs.stdenv) runCommandLocal;
  inherit (config.system) build;
in
{
  system.build.path = runCommandLocal "system-path"
    {
      tools = [ pkgs.env-merge ];
      paths = config.environment.systemPackages;
    } ''env-merge "$out" $paths'';

  system.build.initrd = runCommandLocal "initrd"
    {
      tools = [ pkgs.initrd-pack ];
      inherit (pkgs.linux) modules;
      inherit (pkgs.files) microcode firmware;
    } ''
    mkdir early
    cp "$firmware" early/firmware.bin
    initrd-pack "$out" "$microcode" "$modules" early
  '';

  system.build.activate = runCommandLocal "activate"
    {
      tools = [ pkgs.make-wrapper pkgs.gettext ];
      inherit (build) etc;
      inherit (pkgs) supervisor busybox;
      messages = "done=the system is active";
    } ''
    mkdir -p "$out/bin" "$out/share"
    echo "$messages" >messages.po
    msgfmt messages.po "$out/share/activate.mo"
    {
      echo "#!$busybox/bin/sh"
      echo "echo linking $etc"
      echo "exec $supervisor/bin/supervisor"
    } >"$out/bin/.activate"
    chmod +x "$out/bin/.activate"
    make-wrapper "$out/bin/.activate" "$out/bin/activate" "$busybox/bin"
  '';

  system.build.toplevel = runCommandLocal "nixos-system-${config.networking.hostName}"
    {
      inherit (build) etc path initrd activate;
      kernel = pkgs.linux;
      hostname = config.networking.hostName;
    } ''
    mkdir "$out"
    ln -s "$kernel/image" "$out/kernel"
    ln -s "$initrd" "$out/initrd"
    ln -s "$etc" "$out/etc"
    ln -s "$path" "$out/sw"
    ln -s "$activate/bin/activate" "$out/activate"
    echo "$hostname" >"$out/name"
  '';
}
