"""Write what patchutils 0.3.3, which no distribution has any more, makes of drawn patches.

``PYTHONPATH=tests .venv/bin/python -m rig.make_patch_corpus DIRECTORY`` takes the directory with
its lsdiff, filterdiff and interdiff, built as nixpkgs does, with its drop-comments.patch.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

from mirror.planning.fetchers.fixed_outputs import HunkRange, PatchOptions
from rig.drawn_patches import DrawnPatches
from rig.patchutils import Patchutils

if TYPE_CHECKING:
    from collections.abc import Iterator

CORPUS: Final = Path(__file__).parent.parent / "sources" / "patches-0.3.3.json"

_CASES: Final = 160
_LONGEST: Final = 1_200


def read_corpus() -> Iterator[tuple[bytes, PatchOptions, bytes | None]]:
    """Each patch, how it is read, and what patchutils makes of it; None where it fails."""
    for case in json.loads(CORPUS.read_text(encoding="ascii")):
        expected = case["expected"]
        options: dict[str, Any] = case["options"]
        options["hunks"] = tuple(HunkRange(**each) for each in options["hunks"])
        for name in ("includes", "excludes"):
            options[name] = tuple(options[name])
        yield (
            case["patch"].encode("latin-1"),
            PatchOptions(**options),
            None if expected is None else expected.encode("latin-1"),
        )


def main(programs: Path) -> None:
    """Draw patches until there are enough, one in six of which patchutils refuses."""
    cases: list[dict[str, Any]] = []
    seed = refused = 0
    with tempfile.TemporaryDirectory() as scratch:
        patchutils = Patchutils(programs, Path(scratch))
        while len(cases) < _CASES:
            seed += 1
            drawn = DrawnPatches(Random(seed))
            patch, options = drawn.patch(), drawn.options(git_headers=False)
            if len(patch) > _LONGEST:
                continue
            try:
                made = patchutils.normalised(patch, options)
            except subprocess.TimeoutExpired:
                continue
            refused += made is None
            if made is None and refused > _CASES // 6:
                continue
            expected = None if made is None else made.decode("latin-1")
            case = {"patch": patch.decode("latin-1"), "options": asdict(options)}
            cases.append({**case, "expected": expected})
    CORPUS.write_text(json.dumps(cases, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
