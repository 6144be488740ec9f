# A service of one's own, from a few lines of shell: a unit and a script.
{
  systemd.services.offline = {
    description = "Something small";
    wantedBy = [ "multi-user.target" ];
    script = "exec sleep infinity";
  };
}
