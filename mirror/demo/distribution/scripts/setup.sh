# Read first by every builder: the search path, and where the package's tools and libraries are.
# $1 is the directory of the shell's own programs.
PATH=$1
for input in $nativeBuildInputs; do
  PATH=$input/bin:$PATH
done
export PATH

# The value of a string attribute, for a derivation with structured attributes.
attribute() {
  printf '%b' "$(sed -nE 's/.*"'"$1"'":"(([^"\\]|\\.)*)".*/\1/p' .attrs.json)" | sed 's/\\"/"/g'
}

# The elements of an attribute that is a list of strings.
elements() {
  sed -n 's/.*"'"$1"'":\[\([^]]*\)\].*/\1/p' .attrs.json | tr -d '"' | tr ',' ' '
}

# Unpack an archive, by its name, into the current directory.
unpackFile() {
  case $1 in
    *.zip) unzip -q "$1" ;;
    *.tar.gz | *.tgz) tar -xzf "$1" ;;
    *.tar.xz) tar -xJf "$1" ;;
    *.tar.bz2) tar -xjf "$1" ;;
    *.tar) tar -xf "$1" ;;
    *) echo "$1: not an archive that can be unpacked here" >&2 && return 1 ;;
  esac
}
