# An address by hand, for a network without DHCP: a unit for the interface, or with
# networking.useNetworkd a .network file.
{
  networking.interfaces.eth0.ipv4.addresses = [
    {
      address = "192.0.2.20";
      prefixLength = 24;
    }
  ];
}
