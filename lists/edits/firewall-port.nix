# A port that is opened, say to give a colleague a file. The firewall's start and reload scripts are
# made anew.
{
  networking.firewall.allowedTCPPorts = [ 8000 ];
}
