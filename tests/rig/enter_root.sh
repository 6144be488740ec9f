#!/bin/sh
# enter_root.sh ROOT PROGRAM [ARGUMENT...]: run a program in another root, in a mount namespace that
# the caller has just made. The directories where tests have their files are the same in there, and
# so are the working directory, the environment and the standard streams.
set -eu
root=$1
shift
here=$(pwd)
mount --bind "$root" "$root"
for directory in /proc /dev /sys; do
  mount --rbind "$directory" "$root$directory"
done
for directory in /tmp /var/tmp /root /home /srv /opt "${PREFETCH_TEST_TREE:-/tmp}" "${TMPDIR:-/tmp}"; do
  if [ -d "$directory" ]; then
    mkdir -p "$root$directory"
    mount --bind "$directory" "$root$directory"
  fi
done
cd "$root"
pivot_root . mnt
cd "$here"
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
exec "$@"
