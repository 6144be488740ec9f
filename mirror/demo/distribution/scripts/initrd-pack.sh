#!@shell@
# initrd-pack OUTPUT PATH...: the archive that a kernel starts from.
output=$1
shift
for path in "$@"; do
  (cd "$path" && find . -type f | sort | cpio -o -H newc 2>/dev/null)
done | gzip -n >"$output"
