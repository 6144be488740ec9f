#!@shell@
# unit-check FILE: fails unless the unit says what it runs or when.
grep -q -e '^ExecStart=' -e '^OnCalendar=' "$1" || {
  echo "$1: neither ExecStart nor OnCalendar" >&2
  exit 1
}
