"""Archives with numbers that no archiver writes."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest
from rig import raw_zip

from mirror.errors import IntegrityError
from mirror.sources.archives.tar import read_tar
from mirror.sources.archives.tree import Limits
from mirror.sources.archives.zip import read_zip

if TYPE_CHECKING:
    from pathlib import Path

SIZE = slice(124, 136)
CHECKSUM = slice(148, 156)
DICTIONARY = 5
"""Where the size of an entry's dictionary is behind its name: version, length, properties."""


def header(name: str, kind: bytes, size: int) -> bytes:
    """A header with a size that may be below zero, as the form of GNU allows it to be written."""
    made = tarfile.TarInfo(name)
    made.type = kind
    data = bytearray(made.tobuf(tarfile.GNU_FORMAT))
    data[SIZE] = size.to_bytes(12, "big", signed=True)
    if size >= 0:
        data[SIZE] = b"%011o\0" % size
    data[CHECKSUM] = b" " * 8
    data[CHECKSUM] = b"%06o\0 " % sum(data)
    return bytes(data)


@pytest.mark.parametrize("size", [-513, -4096, -(1 << 40)])
def test_an_archive_that_leads_back_into_itself_is_refused(tmp_path: Path, size: int) -> None:
    archive = tmp_path / "a.tar"
    hole = header("hole", tarfile.GNUTYPE_SPARSE, size)
    archive.write_bytes(header("file", tarfile.REGTYPE, 0) + hole + bytes(10_000))
    with pytest.raises(IntegrityError) as caught:
        read_tar(archive, Limits(entries=1000))
    assert "entries" not in caught.value.message, "it went round and round"


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_size_below_zero_is_refused(tmp_path: Path, kind: bytes) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(header("a", kind, -1024) + bytes(10_000))
    with pytest.raises(IntegrityError):
        read_tar(archive, Limits())


@pytest.mark.parametrize("method", [1, 6, 9])
def test_what_only_slow_code_uncompresses_is_limited(tmp_path: Path, method: int) -> None:
    archive = tmp_path / "a.zip"
    members = [raw_zip.Member(name=b"%d" % n, data=b"abc", method=method) for n in range(9)]
    archive.write_bytes(raw_zip.written(members))
    stored = sum(len(raw_zip.METHODS[method](b"abc", 0)) for _ in members)
    read_zip(archive, tmp_path / "contents", Limits(slow=stored))
    with pytest.raises(IntegrityError, match=f"more than {stored - 1} bytes of compressions"):
        read_zip(archive, tmp_path / "contents", Limits(slow=stored - 1))


def test_a_zip_that_asks_for_more_memory_than_there_is_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_LZMA) as made:
        made.writestr("name", bytes(1000))
    data = bytearray(archive.read_bytes())
    start = data.index(b"name") + len("name") + DICTIONARY
    data[start : start + 4] = b"\xff" * 4
    archive.write_bytes(data)
    # In a process of its own, which has but 2 GiB.
    script = (
        "import resource, sys, pathlib\n"
        "from mirror.errors import IntegrityError\n"
        "from mirror.sources.archives.tree import Limits\n"
        "from mirror.sources.archives.zip import read_zip\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        "archive = pathlib.Path(sys.argv[1])\n"
        "try:\n"
        "    read_zip(archive, archive.parent / 'contents', Limits())\n"
        "except IntegrityError as error:\n"
        "    sys.exit(error.message)\n"
    )
    completed = subprocess.run(
        [sys.executable, "-c", script, archive], capture_output=True, text=True, check=False
    )
    assert completed.stderr == "the zip archive needs more memory than there is\n"
