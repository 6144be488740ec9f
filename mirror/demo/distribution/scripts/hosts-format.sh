#!@shell@
# hosts-format FILE: each address with its names, in columns, without duplicates.
sort -u "$1" | while read -r address names; do
  printf '%-24s%s\n' "$address" "$names"
done
