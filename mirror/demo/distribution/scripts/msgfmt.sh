#!@shell@
# msgfmt CATALOGUE OUTPUT: a message catalogue in the form that programs read.
grep -v '^#' "$1" | sort >"$2"
