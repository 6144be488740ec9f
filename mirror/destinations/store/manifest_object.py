"""The manifest object of a generation: a text in the store that refers to all of its paths."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mirror.destinations.records.generation import MANIFEST
from mirror.formats import nar
from mirror.formats.content_address import text_path
from mirror.formats.hashes import Hash
from mirror.formats.path_info import PathInfo

if TYPE_CHECKING:
    from mirror.destinations.records.generation import Generation

_LONGEST_TARGET: Final = 150
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9+\-._?=]")


def manifest_object(generation: Generation) -> tuple[PathInfo, bytes]:
    """The manifest object of a generation, and its NAR."""
    content = MANIFEST.render(generation)
    digest = Hash.of(content)
    target = _NOT_IN_A_NAME.sub("_", generation.target)[:_LONGEST_TARGET]
    references = tuple(sorted(set(generation.paths)))
    data = b"".join(nar.serialize(nar.Regular.of(content)))
    info = PathInfo(
        path=text_path(
            f"prefetch-{target}-{generation.number}.json", hash=digest, references=references
        ),
        nar_hash=Hash.of(data),
        nar_size=len(data),
        references=references,
        content_address=f"text:{digest.nix32}",
    )
    return info, data
