#!@shell@
# cc OUTPUT SOURCE [LIBRARY...]: a program of this distribution is a shell script that reads the
# libraries it is linked with, and runs.
output=$1
source=$2
shift 2
{
  case $output in
    *.so) ;;
    *) echo "#!@shell@" ;;
  esac
  for library in "$@"; do
    echo ". $library"
  done
  cat "$source"
} >"$output"
chmod +x "$output"
