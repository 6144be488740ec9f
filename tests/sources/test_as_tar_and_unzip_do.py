"""Drawn archives are the trees that GNU tar and Info-ZIP's unzip make of them, or are refused.

Archives are unpacked as nixpkgs' ``unpackFile`` does it, and the trees compared by their NARs. With
``PREFETCH_ARCHIVES`` as many are drawn, other ones each time.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from rig import drawn_tars, raw_tar, raw_zip

from mirror.errors import FormatError, IntegrityError
from mirror.formats import nar
from mirror.nix.file_tree import tree
from mirror.sources.archives.unpack import unpack

COUNT: Final = int(os.environ.get("PREFETCH_ARCHIVES", "0"))
drawn = settings(
    max_examples=COUNT or 120,
    derandomize=not COUNT,
    phases=[Phase.generate, Phase.shrink] if COUNT else [Phase.generate],
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

TAR: Final = ["tar", "--mode=+w", "--warning=no-timestamp", "--no-same-owner", "-xf"]
UNZIP: Final = ["unzip", "-qq"]
WARNED: Final = 1
"""unzip's status where it has taken the archive with a warning: nixpkgs then gives up."""

COMPRESSORS: Final = {
    "gzip": ["gzip", "-n"],
    "bzip2": ["bzip2"],
    "xz": ["xz"],
    "zstd": ["zstd", "-q"],
}
TAILS: Final = {
    "nothing": b"",
    "a zero": bytes(1),
    "four zeros": bytes(4),
    "as npm pads": bytes(2000),
    "a letter": b"x",
    "garbage": b"garbage, longer than what any stream begins with",
    "zeros and garbage": bytes(512) + b"garbage",
}

REFUSED_HERE: Final = {
    "an absolute name": "tar takes the slash away; whoever unpacks it otherwise may not",
    "a name that leaves it": "tar takes .. away from the target of a hard link",
    "belongs to no entry": "tar takes a long name, and an extended header, that no entry follows",
    "is neither a file nor": "root may make devices, which a later entry may replace",
}
"""What is refused here although the tools take it, by our message; and why."""

TAKEN_HERE: Final = {
    "Cannot change mode": "tar sets a directory's mode at the end, if a link has replaced it too",
    "Member name contains '..'": "the label of a volume is no name here",
    "start of central directory not found": "an archive of nothing may stand behind a program",
    "overlapped components": "unzip takes the descriptor behind an entry with a Unicode path for "
    "longer than it is",
    "Child returned status": "gzip, xz and zstd fail for what follows, once all is written",
}
"""What is taken here although the tools fail, by their message; and why."""


def packed(node: nar.Node) -> bytes:
    return b"".join(nar.serialize(node))


def listed(node: nar.Node, path: str = ".") -> str:
    match node:
        case nar.Directory():
            below = (
                listed(entry, f"{path}/{os.fsdecode(name)[:9]}")
                for name, entry in sorted(node.entries.items())
            )
            return "\n".join([f"{path}/", *below])
        case nar.Symlink():
            return f"{path} -> {os.fsdecode(node.target)[:99]}"
        case nar.Regular():
            contents = b"".join(node.read())
            return f"{path} {'x' if node.executable else '-'} {len(contents)} {contents[:20]!r}"


def theirs(command: list[str], out: Path) -> bytes | str:
    """The NAR of what a tool unpacks; its words where it fails, or Nix would."""
    out.mkdir()
    done = subprocess.run(
        command,
        cwd=out,
        env={**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode not in {0, WARNED}:
        return done.stderr.decode(errors="backslashreplace") or "it failed"
    for directory, names, files in os.walk(out):
        for name in [*names, *files]:
            file = Path(directory, name)
            if not file.is_symlink():
                file.chmod(file.stat().st_mode | 0o600)
    try:
        return packed(tree(out))
    except FormatError as error:
        return error.message


def ours(archive: Path, scratch: Path) -> bytes | str:
    scratch.mkdir()
    try:
        return packed(asyncio.run(unpack(archive, scratch)))
    except (IntegrityError, FormatError) as error:
        return error.message


def compare(data: bytes, command: list[str]) -> bool:
    """Compare the trees of an archive; whether it is taken here."""
    directory = Path(tempfile.mkdtemp())
    try:
        archive = directory / "archive"
        archive.write_bytes(data)
        their = theirs([*command, str(archive)], directory / "out")
        our = ours(archive, directory / "scratch")
    finally:
        shutil.rmtree(directory)
    if isinstance(our, bytes) and isinstance(their, bytes):
        assert our == their, f"{listed(nar.parse(our))}\nand not\n{listed(nar.parse(their))}"
    elif isinstance(our, str) and isinstance(their, bytes):
        assert any(re.search(message, our) for message in REFUSED_HERE), our
    elif isinstance(our, bytes) and isinstance(their, str):
        assert any(re.search(message, their) for message in TAKEN_HERE), their
    return isinstance(our, bytes)


@drawn
@given(drawn_tars.archives())
def test_a_tar_is_what_gnu_tar_makes_of_it(data: bytes) -> None:
    compare(data, TAR)


@drawn
@given(raw_zip.archives())
def test_a_zip_is_what_unzip_makes_of_it(data: bytes) -> None:
    compare(data, UNZIP)


@pytest.mark.parametrize("method", [1, 6, 9])
@pytest.mark.parametrize("flags", [0, 2, 4, 6])
def test_compressions_that_are_written_no_more_are_undone(method: int, flags: int) -> None:
    words = b"".join(b"%d%s" % (n % 97, b"again" * (n % 5)) for n in range(900))
    for data in (b"", b"x", words, b"a" * 5000 + words[:300], words[:99] + bytes(60_000) + words):
        member = raw_zip.Member(name=b"a", data=data, method=method, flags=flags)
        assert compare(raw_zip.written([member]), UNZIP)


def test_an_archive_may_stand_behind_a_program() -> None:
    members = [raw_zip.Member(name=b"a", data=b"x"), raw_zip.Member(name=b"b/")]
    for is_adjusted in (False, True):
        stub = b"MZ, a program" * 99
        assert compare(raw_zip.written(members, stub=stub, is_adjusted=is_adjusted), UNZIP)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_what_follows_a_compressed_tar_is_taken_as_tar_does(compressor: str, tail: str) -> None:
    made = raw_tar.Header(name=b"a/b", size=5).written() + raw_tar.padded(b"hello") + bytes(1024)
    command = [*COMPRESSORS[compressor], "-c"]
    data = subprocess.run(command, input=made, stdout=subprocess.PIPE, check=True).stdout
    assert compare(data + TAILS[tail], TAR)
    # The second is read where the tools read it, and changes nothing: the first is at its end.
    assert compare(data + data + TAILS[tail], TAR)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("form", ["xz", "lzma"])
def test_what_follows_xz_and_lzma_is_taken_as_nixpkgs_does(form: str, tail: str) -> None:
    made = raw_tar.Header(name=b"a/b", size=5).written() + raw_tar.padded(b"hello") + bytes(1024)
    compress = ["xz", f"--format={form}", "-c"]
    data = subprocess.run(compress, input=made, stdout=subprocess.PIPE, check=True).stdout
    assert compare(data + TAILS[tail], ["sh", "-euc", '(xz -d < "$0"; true) | tar -xf -'])
