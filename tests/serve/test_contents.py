"""NARs in other shapes: what tar makes of the archive is the tree again, as Nix hashes it."""

from __future__ import annotations

import io
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import FormatError
from mirror.formats import nar
from mirror.formats.nar import Directory, Node, Regular, Symlink
from mirror.nix.file_tree import tree
from mirror.serve.library.nar_contents import archive_pieces, archive_size, file_pieces, file_size

if TYPE_CHECKING:
    from pathlib import Path

TIME = 1_700_000_000
NAMES = st.binary(min_size=1, max_size=120).filter(
    lambda name: name not in {b".", b".."} and not {0, ord("/")} & set(name)
)
FILES = st.builds(Regular.of, st.binary(max_size=1500), executable=st.booleans())
LINKS = st.builds(Symlink, NAMES)
TREES = st.recursive(
    st.builds(Directory, st.dictionaries(NAMES, FILES | LINKS, max_size=4)),
    lambda trees: st.builds(Directory, st.dictionaries(NAMES, trees | FILES | LINKS, max_size=4)),
    max_leaves=8,
)


def in_pieces(node: Node, length: int = 333) -> list[bytes]:
    data = b"".join(nar.serialize(node))
    return [data[start : start + length] for start in range(0, len(data), length)]


def node_of(archive: tarfile.TarFile, below: str) -> Directory:
    """What a reader of tar sees below a directory."""
    entries: dict[bytes, Node] = {}
    for member in archive.getmembers():
        directory, _, name = member.name.rpartition("/")
        if directory != below:
            continue
        key = name.encode("utf-8", "surrogateescape")
        if member.isdir():
            entries[key] = node_of(archive, member.name)
        elif member.issym():
            entries[key] = Symlink(member.linkname.encode("utf-8", "surrogateescape"))
        else:
            file = archive.extractfile(member)
            assert file is not None
            entries[key] = Regular.of(file.read(), executable=bool(member.mode & 0o100))
        assert member.mtime == TIME
    return Directory(entries)


@given(TREES)
def test_the_archive_is_of_the_same_tree(node: Directory) -> None:
    pieces = in_pieces(node)
    written = b"".join(archive_pieces(pieces, last_modified=TIME))
    assert len(written) == archive_size(pieces, last_modified=TIME)
    with tarfile.open(
        fileobj=io.BytesIO(written), encoding="utf-8", errors="surrogateescape"
    ) as archive:
        assert archive.getmembers()[0].name == "source"
        read = node_of(archive, "source")
    assert b"".join(nar.serialize(read)) == b"".join(pieces)


def test_gnu_tar_unpacks_it(tmp_path: Path) -> None:
    node = Directory(
        {
            b"run": Regular.of(b"#!/bin/sh\n", executable=True),
            b"empty": Regular.of(b""),
            b"d" * 200: Directory({b"link": Symlink(b"t" * 200), b"none": Directory({})}),
            b"caf\xe9": Regular.of(b"x" * 512),
        }
    )
    (tmp_path / "archive.tar").write_bytes(
        b"".join(archive_pieces(in_pieces(node), last_modified=TIME))
    )
    subprocess.run(["tar", "-xf", "archive.tar"], cwd=tmp_path, check=True)
    assert b"".join(nar.serialize(tree(tmp_path / "source"))) == b"".join(nar.serialize(node))


@given(st.binary(max_size=2000))
def test_a_file_is_given_byte_for_byte(content: bytes) -> None:
    pieces = in_pieces(Regular.of(content))
    assert b"".join(file_pieces(pieces)) == content
    assert file_size(pieces) == len(content)


@pytest.mark.parametrize(
    "node",
    [Directory({}), Symlink(b"x"), Regular.of(b"x", executable=True)],
    ids=lambda node: type(node).__name__,
)
def test_what_is_no_plain_file_is_not_given_as_one(node: Node) -> None:
    with pytest.raises(FormatError):
        b"".join(file_pieces(in_pieces(node)))
    with pytest.raises(FormatError):
        file_size(in_pieces(node))


@pytest.mark.parametrize(
    "node", [Symlink(b"x"), Regular.of(b"x")], ids=lambda node: type(node).__name__
)
def test_what_is_no_directory_makes_no_archive(node: Node) -> None:
    with pytest.raises(FormatError):
        b"".join(archive_pieces(in_pieces(node), last_modified=TIME))


def test_what_is_cut_short_is_an_error() -> None:
    pieces = in_pieces(Regular.of(b"x" * 1000))[:2]
    with pytest.raises(FormatError):
        b"".join(file_pieces(pieces))
