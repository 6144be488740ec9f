"""Trees of files for the demo's sources, and archives of them: the same bytes on every machine."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

Tree = dict[str, bytes]
"""File contents by their paths; a name that ends in ``.sh`` is executable."""

_MOMENT: Final = 1_000_000_000
_ZIP_MOMENT: Final = (2001, 9, 9, 1, 46, 40)
_KIBIBYTE: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """An archive of the source of a program or library; ``size`` is of its data, in KiB.

    ``stripped``: all is in one directory ``<name>-<version>``. ``tree``: its tree is pinned too.
    """

    version: str
    extension: str = "tar.gz"
    size: int = 8
    folder: str = ""
    stripped: bool = True
    tree: bool = False


def source_tree(name: str, archive: Archive) -> Tree:
    """The source of one program or library, by the paths in its archive."""
    label = f"{name} {archive.version}"
    top = f"{name}-{archive.version}/" if archive.stripped else ""
    function = "describe" if not name.startswith("lib") else f"{name}_describe"
    call = 'describe "$@"\n' if function == "describe" else ""
    return {
        f"{top}main.sh": f'# {label}\n{function}() {{\n  echo "{label}"\n}}\n{call}'.encode(),
        f"{top}manual.txt": f"{name}: a program of a small distribution\n".encode(),
        f"{top}messages.po": f"# {name}\nhello=hello from {name}\nbye=bye from {name}\n".encode(),
        f"{top}share/{name}.data": noise(name, archive.size),
    }


def pack(tree: Tree, extension: str) -> bytes:
    """The same archive for the same tree, on every machine and at any time."""
    buffer = io.BytesIO()
    if extension == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(tree):
                entry = zipfile.ZipInfo(path, _ZIP_MOMENT)
                entry.external_attr = (0o100755 if path.endswith(".sh") else 0o100644) << 16
                archive.writestr(entry, tree[path])
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(tree):
            member = tarfile.TarInfo(path)
            member.size, member.mtime = len(tree[path]), _MOMENT
            member.mode = 0o755 if path.endswith(".sh") else 0o644
            tar.addfile(member, io.BytesIO(tree[path]))
    return compress(buffer.getvalue(), extension)


def compress(data: bytes, extension: str) -> bytes:
    """Compress as the last part of ``extension`` says; ``.tar`` alone is not compressed."""
    match extension.rpartition(".")[2]:
        case "gz":
            return gzip.compress(data, mtime=0)
        case "xz":
            return lzma.compress(data, preset=1)
        case "bz2":
            return bz2.compress(data)
        case _:
            return data


def noise(name: str, kibibytes: int) -> bytes:
    """Bytes that do not compress, the same for the same name."""
    generator = random.Random(name)  # noqa: S311 - it has to give the same each time
    return generator.randbytes(kibibytes * _KIBIBYTE)


def write_tree(directory: Path, tree: Tree, *, executable: bool = False) -> Path:
    """Write files; those whose name ends in ``.sh`` are executable, or all if ``executable``."""
    for path, content in tree.items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(0o755 if executable or path.endswith(".sh") else 0o644)
    return directory
