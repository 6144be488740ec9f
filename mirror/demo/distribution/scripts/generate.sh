# The builder of a generated derivation: each output lists what was there to build it with.
PATH=$1
for output in $outputs; do
  eval "place=\$$output"
  echo "$name $output $inputs $tools $sources" >"$place"
done
