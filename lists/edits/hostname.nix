# Another name for the machine. Much refers to it: /etc/hostname, /etc/hosts, the system itself.
# mkForce, since the configuration has given it a name already.
{ lib, ... }:
{
  networking.hostName = lib.mkForce "renamed";
}
