from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.scratch_nix import NEEDS_NIX, ScratchNix

from mirror.errors import FormatError
from mirror.formats import nar
from mirror.formats.nar import Directory, NarParser, Node, Regular, Symlink
from mirror.formats.nar_strings import ENTRY, MAGIC, NODE, string, strings

if TYPE_CHECKING:
    from pathlib import Path

LINK = strings("(", "type", "symlink", "target", "x", ")")


def dump(node: Node) -> bytes:
    return b"".join(nar.serialize(node))


def feed(data: bytes, *sizes: int) -> None:
    parser = NarParser()
    start = 0
    for size in sizes:
        parser.feed(data[start : start + size])
        start += size
    parser.feed(data[start:])
    parser.finish()


def directory(*names: bytes, node: bytes = LINK) -> bytes:
    entries = b"".join(ENTRY + string(name) + NODE + node + strings(")") for name in names)
    return strings("(", "type", "directory") + entries + strings(")")


def regular(contents: bytes) -> Regular:
    return Regular.of(contents)


def nested(depth: int) -> Node:
    node: Node = Symlink(b"x")
    for _ in range(depth - 1):
        node = Directory({b"d": node})
    return node


@NEEDS_NIX
def test_a_tree_is_written_as_nix_dumps_it_and_read_back(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub/empty").mkdir(parents=True)
    for name, contents in {"a": b"", "b": b"12345678", "sub/c": b"x" * 300_001}.items():
        (tree / name).write_bytes(contents)
    (tree / "sub/c").chmod(0o755)
    (tree / "link").symlink_to("sub/../nowhere")
    (tree / os.fsdecode(b"Z\xff")).write_bytes(b"name")
    node = Directory(
        {
            b"sub": Directory(
                {b"empty": Directory({}), b"c": Regular.of(b"x" * 300_001, executable=True)}
            ),
            b"a": regular(b""),
            b"b": regular(b"12345678"),
            b"link": Symlink(b"sub/../nowhere"),
            b"Z\xff": regular(b"name"),
        }
    )
    expected = ScratchNix(tmp_path).run("nix-store", "--dump", tree)
    assert dump(node) == expected
    assert nar.serialized_size(node) == len(expected)
    assert dump(nar.parse(expected)) == expected


def test_large_contents_come_in_pieces_and_short_ones_joined() -> None:
    many = Directory({b"%d" % number: regular(b"x") for number in range(5000)})
    sizes = [len(piece) for piece in nar.serialize(many)]
    assert min(sizes[:-1]) >= 1 << 18
    assert max(sizes) < 1 << 19
    chunks = Regular(3 << 20, False, lambda: [bytes(1 << 20)] * 3)
    assert max(len(piece) for piece in nar.serialize(chunks)) <= (1 << 20) + 200


def test_contents_of_another_size_are_refused() -> None:
    with pytest.raises(FormatError, match=r"3 bytes were read, not 4"):
        dump(Directory({b"f": Regular(4, False, lambda: [b"abc"])}))


node_names = st.binary(min_size=1, max_size=12).filter(
    lambda name: name not in {b".", b".."} and not {0, ord("/")} & set(name)
)
nodes = st.recursive(
    st.builds(lambda data, x: Regular.of(data, executable=x), st.binary(max_size=40), st.booleans())
    | st.binary(min_size=1, max_size=20).filter(lambda target: 0 not in target).map(Symlink),
    lambda children: st.dictionaries(node_names, children, max_size=4).map(Directory),
    max_leaves=8,
)


@given(nodes, st.lists(st.integers(0, 50)))
def test_every_tree_is_read_back_however_it_is_cut(node: Node, sizes: list[int]) -> None:
    data = dump(node)
    assert len(data) == nar.serialized_size(node)
    assert dump(nar.parse(data)) == data
    feed(data, *sizes)
    feed(data, *[1] * len(data))


@given(nodes, st.data())
def test_damage_is_a_format_error_or_another_nar(node: Node, data: st.DataObject) -> None:
    archive = bytearray(dump(node))
    for _ in range(data.draw(st.integers(1, 3))):
        archive[data.draw(st.integers(0, len(archive) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.none() | st.integers(0, len(archive)))
    damaged = bytes(archive[:cut])
    try:
        read = nar.parse(damaged)
    except FormatError:
        return
    assert dump(read) == damaged


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "cut short"),
        (LINK + b"\0", "something follows"),
        (LINK[:-8] + b")\0\0\0\0\0\0\1", "expected"),
        (directory(b"b", b"a"), "'a' after 'b'"),
        (directory(b"a", b"a"), "'a' after 'a'"),
        (directory(b""), "an entry is called"),
        (directory(b"."), "an entry is called"),
        (directory(b".."), "an entry is called"),
        (directory(b"a/b"), "an entry is called"),
        (directory(b"a\0"), "an entry is called"),
        (directory(b"x" * 256), "256 bytes; 255 are allowed"),
        (directory(b"sub", node=directory(b"b", b"a")), "/sub: entry 'a'"),
        (directory(b"a").replace(string(b"a"), string(b"a")[:-1] + b"\1"), "padding"),
        (strings("(", "type", "symlink", "target", "y" * 4096, ")"), "4095 are allowed"),
        (strings("(", "type", "symlink", "target", "", ")"), "a link to ''"),
        (strings("(", "type", "socket") + bytes(32), "expected"),
        (strings("(", "type", "regular", ")") + bytes(32), "expected"),
        (strings("(", "type", "regular", "executable", "1") + bytes(32), "expected"),
        (strings("(", "type", "regular", "contents", "abc")[:-1] + b"\1", "padding"),
        (strings("(", "type", "regular", "contents", "a" * 100), "cut short"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_nix_refuses_is_refused_and_named(body: bytes, problem: str) -> None:
    for sizes in ((), [1] * len(MAGIC + body)):
        with pytest.raises(FormatError, match=problem):
            feed(MAGIC + body, *sizes)


def test_the_limits_are_nixs_on_both_sides() -> None:
    for allowed in (
        nested(64),
        Directory({b"n" * 255: Symlink(b"t" * 4095)}),
    ):
        feed(dump(allowed))
    for refused in (nested(65), Directory({b"n" * 256: regular(b"")}), Symlink(b"t" * 4096)):
        with pytest.raises(FormatError, match=r"64|255|4095"):
            dump(refused)
    # The same as `nested(65)`, written by hand.
    deep = LINK
    for _ in range(64):
        deep = directory(b"d", node=deep)
    with pytest.raises(FormatError, match="deeper than 64"):
        feed(MAGIC + deep)


def test_a_parser_that_has_refused_goes_on_refusing() -> None:
    parser = NarParser()
    with pytest.raises(FormatError):
        parser.feed(b"x" * 100)
    with pytest.raises(FormatError):
        parser.feed(dump(regular(b"")))
    with pytest.raises(FormatError):
        parser.finish()


def test_contents_are_passed_over_without_being_kept() -> None:
    parser = NarParser()
    for piece in nar.serialize(Regular(1 << 32, False, lambda: [bytes(1 << 20)] * (1 << 12))):
        parser.feed(piece)
    parser.finish()


def test_random_bytes_are_no_nar() -> None:
    generator = random.Random(1)
    for size in range(0, 400, 7):
        with pytest.raises(FormatError):
            feed(MAGIC + generator.randbytes(size))
