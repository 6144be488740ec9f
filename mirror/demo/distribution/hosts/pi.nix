# A small machine in a cupboard, of another architecture.
{ pkgs, ... }: {
  networking.hostName = "pi";
  networking.firewall.allowedTCPPorts = [ 22 53 ];
  environment.systemPackages = [ pkgs.hello pkgs.printer-driver ];
  environment.etc."wallpaper.img".source = pkgs.files.wallpaper;
  users.users.keeper = { uid = 1000; home = "/home/keeper"; };
  systemd.services.watch.serviceConfig.ExecStart = "${pkgs.backup}/bin/backup /var";
}
