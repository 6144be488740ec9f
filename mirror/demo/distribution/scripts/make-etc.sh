#!@shell@
# make-etc OUTPUT NAMES SOURCES: a tree in which each name links to the source of the same place.
names=$2
sources=$3
mkdir -p "$1"
set -- "$1" $sources
output=$1
shift
for name in $names; do
  mkdir -p "$output/$(dirname "$name")"
  ln -s "$1" "$output/$name"
  shift
done
