# A laptop for work and for the way to it.
{ pkgs, ... }: {
  networking.hostName = "laptop";
  networking.hosts."192.0.2.10" = [ "printer" "printer.home" ];
  networking.wireless = { enable = true; networks.home.psk = "not a secret"; };
  environment.systemPackages = [
    pkgs.hello
    pkgs.editor
    pkgs.editor.man
    pkgs.calendar
    pkgs.atlas
    pkgs.ledger
    pkgs.printer-driver
  ];
  environment.etc."wallpaper.img".source = pkgs.files.wallpaper;
  users.users.alice = { uid = 1000; home = "/home/alice"; };
  systemd.services.backup.serviceConfig.ExecStart = "${pkgs.backup}/bin/backup /home";
  systemd.timers.backup.timerConfig.OnCalendar = "daily";
}
