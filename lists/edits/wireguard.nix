# A tunnel to another network. It takes wireguard-tools and a unit for the interface and each peer;
# the key stays a file of the machine, out of the store.
{
  networking.wireguard.interfaces.wg-offline = {
    ips = [ "198.51.100.2/24" ];
    privateKeyFile = "/var/lib/wireguard/offline.key";
    peers = [
      {
        publicKey = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        allowedIPs = [ "198.51.100.0/24" ];
        endpoint = "192.0.2.1:51820";
      }
    ];
  };
}
