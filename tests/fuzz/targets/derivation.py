""".drv files: what is read is written again byte for byte, and recognising it never fails badly."""

from __future__ import annotations

import contextlib
from typing import Final

from fuzz.target import Target, plain
from mirror.errors import FormatError
from mirror.formats.aterm import parse_derivation, print_derivation
from mirror.formats.derivation_paths import derivation_path
from mirror.formats.store_path import StorePath, is_store_path
from mirror.planning.fetchers.recognise import fixed_output

SOME: Final = StorePath.parse(f"/nix/store/{'0' * 32}-some.drv")


def _check(data: bytes) -> None:
    derivation = parse_derivation(SOME, data)
    assert print_derivation(derivation) == data
    paths = [*derivation.input_derivations, *derivation.input_sources, *derivation.output_paths()]
    assert all(is_store_path(path) for path in paths)
    assert derivation_path(derivation).name == SOME.name
    with contextlib.suppress(FormatError):
        fixed_output(derivation, lambda _: derivation)


TARGET: Final = Target(
    name="derivation",
    checking=plain(_check),
    words=(
        *(b"Derive(", b'DrvWithVersion("xp-dyn-drv",', b"[", b"]", b"(", b")", b",", b'"', b"\\"),
        *(b"),(", b'","', b"[]", b'\\"', b"\\n", b"\t", b"\0", b"\x01", b"\x02", b"r:sha256"),
        *(b'("__json","{}")', b'("urls","mirror://x/y")', b'("builder","builtin:fetchurl")'),
        *(SOME.encode(), b'("postFetch","unpackFile \\"$renamed\\"")', b'("mirrorsFile","")'),
    ),
)
