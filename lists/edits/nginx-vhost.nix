# A web server that gives the files of a directory. It takes nginx and the tools that its
# configuration is formatted and checked with.
{
  services.nginx = {
    enable = true;
    virtualHosts."offline.example".root = "/var/www";
  };
}
