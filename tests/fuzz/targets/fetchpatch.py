"""The scripts of fetchpatch: options that are read are those of the script that is made of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from rig.patch_scripts import PATCHUTILS_0_3, old_script, package, script

from fuzz.target import Target, plain
from mirror.errors import FormatError
from mirror.planning.fetchers import fetchpatch


def _check(data: bytes) -> None:
    found = fetchpatch.options(data.decode("utf-8", "surrogateescape"), [PATCHUTILS_0_3])
    found = found or fetchpatch.options(data.decode("utf-8", "surrogateescape"), [])
    if found is None:
        raise FormatError("not fetchpatch's")
    # The rig's scripts have the prefixes that fetchpatch gives, and both or none.
    old, new = ("a/x", "b/x") if found.old_prefix else ("", "")
    found = replace(found, old_prefix=old, new_prefix=new)
    if found.quotes_names or found.base64:
        found = replace(found, quotes_names=True)
        assert fetchpatch.options(script(found), [package(found)]) == found
    else:
        assert fetchpatch.options(old_script(found), []) == found


TARGET: Final = Target(
    name="fetchpatch",
    checking=plain(_check),
    words=(
        *(b"lsdiff", b"filterdiff", b"interdiff", b'"$out"', b'"$tmpfile"', b" -x ", b" -i "),
        *(b" -# ", b"--strip=", b"'", b'"', b"\\", b"\n", b"|", b">", b"--clean", b"base64 -d"),
    ),
    executions=700,
)
