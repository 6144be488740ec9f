# A file in /etc: environment.etc is what most programs are configured by.
{
  environment.etc."offline.conf".text = "mode = offline";
}
