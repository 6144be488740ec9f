"""The real patchutils, run as fetchpatch's script runs them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.planning.fetchers.fixed_outputs import HunkRange, PatchOptions


def find_newer() -> Path | None:
    """The directory with patchutils 0.4.2, as fetchpatch2 has it; None if it is not installed."""
    found = shutil.which("filterdiff")
    if found is None:
        return None
    said = subprocess.run([found, "--version"], capture_output=True, check=True, text=True).stdout
    return Path(found).parent if said.rstrip().endswith(" 0.4.2") else None


class Patchutils:
    """The programs of one version, in ``programs``; ``scratch`` is a directory to work in."""

    def __init__(self, programs: Path, scratch: Path) -> None:
        self._programs = programs
        self._scratch = scratch

    def normalised(self, patch: bytes, options: PatchOptions) -> bytes | None:
        """What is made of a decoded patch, None where the script fails."""
        fetched, cleaned = self._scratch / "fetched", self._scratch / "cleaned"
        fetched.write_bytes(patch)
        below = () if options.relative is None else ("-p1", "-i", f"{options.relative}/*")
        listed = self._run("lsdiff", *below, str(fetched))
        if listed is None:
            return None
        text = b""
        for name in sorted(set(listed.split(b"\n")[:-1])):
            pattern = name.replace(b"*", rb"\*").replace(b"?", rb"\?")
            prefixes = (
                f"--addoldprefix={options.old_prefix}",
                f"--addnewprefix={options.new_prefix}",
            )
            one = self._run(
                "filterdiff",
                b"--include=" + pattern,
                f"--strip={options.strip}",
                *(prefixes if options.old_prefix else ()),
                "--clean",
                str(fetched),
            )
            if one is None:
                return None
            text += one
        cleaned.write_bytes(text)
        hunks = ",".join(map(range_text, options.hunks))
        filtered = self._run(
            "filterdiff",
            "-p1",
            *(word for pattern in options.excludes for word in ("-x", pattern)),
            *(word for pattern in options.includes for word in ("-i", pattern)),
            *(("-#", hunks) if hunks else ()),
            str(cleaned),
        )
        if not text or not filtered:
            return None
        if not options.revert:
            return filtered
        cleaned.write_bytes(filtered)
        return self._run("interdiff", str(cleaned), "/dev/null")

    def _run(self, program: str, *arguments: str | bytes) -> bytes | None:
        command: Sequence[str | bytes] = [str(self._programs / program), *arguments]
        done = subprocess.run(command, capture_output=True, check=False, timeout=20, env={})
        return done.stdout if done.returncode == 0 else None


def range_text(hunks: HunkRange) -> str:
    """The range as ``-#`` takes it."""
    if hunks.first == hunks.last:
        return str(hunks.first)
    first, last = ("" if end is None else str(end) for end in (hunks.first, hunks.last))
    return f"{first}-{last}"
