"""The one program that the demo's distribution starts from: a static busybox of this machine.

The distribution builds everything from it, so that neither a compiler nor a download is needed.
Its programs are links to it by name, because some builds of busybox do not run under another name.
"""

from __future__ import annotations

import shutil
import struct
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.errors import ToolError
from mirror.system.processes import started

if TYPE_CHECKING:
    from mirror.nix.command import Nix

INSTALL_HINT: Final = (
    "install a static busybox (on Debian: apt-get install busybox-static; "
    "with Nix: nix-shell -p pkgsStatic.busybox)"
)

APPLETS: Final = (
    *("awk", "basename", "cat", "chmod", "cp", "cpio", "cut", "dirname", "echo", "env", "expr"),
    *("false", "find", "grep", "gzip", "head", "ls", "ln", "mkdir", "mv", "patch", "printf", "rm"),
    *("sed", "sh", "sort", "tar", "touch", "tr", "true", "uniq", "unxz", "bunzip2", "gunzip"),
    *("unzip", "wc", "wget", "xzcat", "zcat"),
)
"""What the distribution's builders use."""

_PROGRAM_INTERPRETER: Final = 3


async def find_busybox(nix: Nix) -> Path:
    """Find a static busybox that has all of :data:`APPLETS`.

    Looked for on the search path, then as the ``/bin/sh`` of Nix's own sandbox.

    Raises:
        ToolError: there is none.

    """
    candidates = [shutil.which("busybox", path=nix.environment.get("PATH"))]
    shown = await nix.run(["nix", "show-config"])
    for line in shown.stdout.decode(errors="replace").splitlines():
        name, _, value = line.partition(" = ")
        if name == "sandbox-paths":
            candidates += [
                word.removeprefix("/bin/sh=")
                for word in value.split()
                if word.startswith("/bin/sh=")
            ]
    problems = []
    for path in map(Path, filter(None, candidates)):
        problem = await _problem(path)
        if problem is None:
            return path
        problems.append(problem)
    raise ToolError(
        "the demo needs a static busybox: " + ("; ".join(problems) or "there is none on PATH"),
        hint=INSTALL_HINT,
    )


async def _problem(path: Path) -> str | None:
    """Why the program at ``path`` is unsuitable; None if it is suitable."""
    if not is_static(path):
        return f"{path} is not a static program"
    try:
        command = (path, "--list")
        async with started(command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL) as process:
            listing, _ = await process.communicate()
    except OSError as error:
        return f"{path} cannot be started: {error}"
    missing = set(APPLETS) - set(listing.decode(errors="replace").split())
    return f"{path} lacks {', '.join(sorted(missing))}" if missing else None


def is_static(path: Path) -> bool:
    """Whether a file is an ELF program that needs no dynamic loader."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    if not head.startswith(b"\x7fELF"):
        return False
    wide = head[4] == 2  # noqa: PLR2004 - ELFCLASS64
    order = "<" if head[5] == 1 else ">"
    table = struct.unpack_from(f"{order}{'Q' if wide else 'I'}", head, 32 if wide else 28)[0]
    size, count = struct.unpack_from(f"{order}HH", head, 54 if wide else 42)
    starts = range(table, min(table + size * count, len(head) - 4), size)
    kinds = [struct.unpack_from(f"{order}I", head, start)[0] for start in starts]
    return bool(kinds) and _PROGRAM_INTERPRETER not in kinds
