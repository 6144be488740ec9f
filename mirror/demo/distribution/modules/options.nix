# The options that there are: `true` is an option of any value, `each` are the options of each
# attribute, whatever its name. They are named and shaped as in NixOS, which has many more.
{
  networking = {
    hostName = true;
    hosts = true;
    firewall.allowedTCPPorts = true;
    wireless = {
      enable = true;
      networks.each = { psk = true; pskRaw = true; };
    };
  };
  users.users.each = {
    uid = true;
    home = true;
    shell = true;
    description = true;
    hashedPassword = true;
    isNormalUser = true;
  };
  environment = {
    systemPackages = true;
    etc.each = { text = true; source = true; };
  };
  systemd = {
    services.each = {
      description = true;
      script = true;
      serviceConfig = true;
      wantedBy = true;
    };
    timers.each = {
      timerConfig = true;
      wantedBy = true;
    };
  };
  services.dnsmasq = { enable = true; settings = true; };
  system.build = true;
}
