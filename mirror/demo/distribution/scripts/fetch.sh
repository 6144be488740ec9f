# The builder of fetchurl and its relatives: the first address that answers gives the file.
# $1 is the directory of the shell's programs, $2 the script with what every builder reads first.
. "$2" "$1"
if [ -e .attrs.json ]; then
  name=$(attribute name)
  out=$(attribute out)
  urls=$(elements urls)
  mirrorsFile=$(attribute mirrorsFile)
  for input in $(elements nativeBuildInputs); do
    PATH=$input/bin:$PATH
  done
fi
. "$mirrorsFile"

downloadedFile=$out
if [ -n "$downloadToTemp" ]; then
  downloadedFile=$TMPDIR/download
fi

hashed=
case $outputHash in
  *[!0-9a-f]* | '') ;;
  *)
    for mirror in $hashedMirrors; do
      hashed="$hashed $mirror/$outputHashAlgo/$outputHash"
    done
    ;;
esac

expanded=
for url in $urls; do
  case $url in
    mirror://*)
      rest=${url#mirror://}
      site=${rest%%/*}
      eval "prefixes=\$$site"
      for prefix in $prefixes; do
        expanded="$expanded $prefix${rest#*/}"
      done
      ;;
    *) expanded="$expanded $url" ;;
  esac
done
if [ -n "$preferHashedMirrors" ]; then
  expanded="$hashed $expanded"
else
  expanded="$expanded $hashed"
fi

success=
for url in $expanded; do
  echo "trying $url"
  if curl "$url" "$downloadedFile"; then
    success=1
    break
  fi
done
if [ -z "$success" ]; then
  echo "no address has $name" >&2
  exit 1
fi

if [ -n "$executable" ]; then
  chmod +x "$downloadedFile"
fi
eval "$postFetch"
