# The builder of fetchgit. The distribution has no git of its own: its forge also gives each
# revision as an archive, and the tree is the same.
. "$2" "$1"
"$fetcher" "$url" "$rev" "$TMPDIR/revision.tar"
mkdir "$out"
tar -xf "$TMPDIR/revision.tar" -C "$out"
