#!@shell@
# make-wrapper PROGRAM WRAPPER PATH: WRAPPER runs PROGRAM with PATH in front of the search path.
{
  echo "#!@shell@"
  echo "PATH=$3:\$PATH exec $1 \"\$@\""
} >"$2"
chmod +x "$2"
