# A name server of one's own. It takes the package, its D-Bus policy, and a configuration file.
{
  services.dnsmasq = {
    enable = true;
    settings.address = [ "/offline.example/192.0.2.7" ];
  };
}
