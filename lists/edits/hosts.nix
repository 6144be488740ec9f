# A name for an address that answers here only: a server that has moved, a captive portal. It makes
# /etc/hosts anew, and with it /etc and the system.
{
  networking.hosts."192.0.2.7" = [ "offline.example" ];
}
