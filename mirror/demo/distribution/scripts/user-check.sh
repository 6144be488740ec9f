#!@shell@
# user-check FILE: fails where two users share a number (`-` is one that is given to them later);
# prints the file as passwd has it.
duplicates=$(cut -d: -f2 "$1" | sed '/^-$/d' | sort | uniq -d)
if [ -n "$duplicates" ]; then
  echo "user number $duplicates is given twice" >&2
  exit 1
fi
while IFS=: read -r name number home shell; do
  echo "$name:x:$number:100::$home:$shell"
done <"$1"
