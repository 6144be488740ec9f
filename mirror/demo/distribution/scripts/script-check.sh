#!@shell@
# script-check FILE: fails where the shell cannot read a script.
exec @shell@ -n "$1"
