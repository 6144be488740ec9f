# A setting of the kernel: here, forwarding, to share a connection. It is a line of a file in
# /etc/sysctl.d. mkForce, since the configuration may have decided it.
{ lib, ... }:
{
  boot.kernel.sysctl."net.ipv4.ip_forward" = lib.mkForce 1;
}
