#!@shell@
# env-merge OUTPUT PATH...: one tree of links to the programs and manuals of all paths.
output=$1
shift
mkdir -p "$output/bin" "$output/share/man"
for path in "$@"; do
  for directory in bin share/man; do
    for file in "$path/$directory"/*; do
      if [ -e "$file" ]; then
        ln -sf "$file" "$output/$directory/"
      fi
    done
  done
done
