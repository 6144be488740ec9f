# Something that is to happen every hour: a timer and the service that it starts, whose script is
# a file of its own and is checked by the shell when it is made.
{
  systemd.services.hourly = {
    script = "date > /run/hourly";
    serviceConfig.Type = "oneshot";
  };
  systemd.timers.hourly = {
    wantedBy = [ "timers.target" ];
    timerConfig.OnCalendar = "hourly";
  };
}
