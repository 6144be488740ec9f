# What every system has unless a later module says otherwise.
{ pkgs, ... }: {
  networking = {
    hostName = "nixos";
    hosts."127.0.0.1" = [ "localhost" ];
    firewall.allowedTCPPorts = [ ];
    wireless = { enable = false; networks = { }; };
  };
  users.users.root = { uid = 0; home = "/root"; };
  environment.systemPackages = [ pkgs.busybox pkgs.openssh pkgs.supervisor ];
  environment.etc = { };
  systemd.services.ssh.serviceConfig.ExecStart = "${pkgs.openssh}/bin/openssh";
  systemd.timers = { };
  services.dnsmasq = { enable = false; settings = { }; };
}
