# A shell script that sets one variable a site: its addresses.
. "$2" "$1"
for site in $sites; do
  eval "addresses=\$$site"
  echo "$site='$addresses'" >>"$out"
done
