#!@shell@
# password-check FILE: fails where a password is not hashed.
if grep -v -e '^[^:]*:[$]' "$1"; then
  echo "$1: a password as it is typed, not its hash" >&2
  exit 1
fi
