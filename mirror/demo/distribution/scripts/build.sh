# The builder of packages: unpack, patch, and what the package itself says.
. "$2" "$1"
if [ -e .attrs.json ]; then
  out=$(attribute out)
  man=$(attribute man)
  src=$(attribute src)
  buildCommand=$(attribute buildCommand)
  for input in $(elements nativeBuildInputs); do
    PATH=$input/bin:$PATH
  done
  buildInputs=$(elements buildInputs)
fi

if [ -d "$src" ]; then
  cp -r "$src" source
  chmod -R +w source
  cd source
elif [ -n "$src" ]; then
  mkdir source
  cd source
  unpackFile "$src"
  cd ./*
fi
for patch in $patches; do
  patch -p1 -i "$patch"
done
eval "$buildCommand"
