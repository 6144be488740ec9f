# The builder of what is made of a few lines of shell.
. "$2" "$1"
eval "$buildCommand"
