"""tar archives drawn by Hypothesis, with all that their formats allow.

Names are few, so that entries meet: what one does to another is the point. In incremental archives
none do: tar sets the modes of their directories at the end, on whatever is there by then. Nor do
any replace a link that leads out: tar makes those at the end, and knows what it has put in their
place by its inode, which a file that came later may have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

from rig.raw_tar import BLOCK, Header, Shown, long_header, padded, pax_header

if TYPE_CHECKING:
    from rig.raw_tar import Form, Number, Parts

SHORT: Final = (b"a", b"b", b"c", b"d.txt", b"\xc3\xbc", b"\xe9", b"x y")
LONG: Final = (b"l" * 90, b"m" * 130, b"n" * 255)


@st.composite
def names(draw: st.DrawFn, *, odd: bool = True) -> bytes:
    parts = draw(st.lists(st.sampled_from(SHORT * 3 + LONG), min_size=1, max_size=3))
    name = b"/".join(parts)
    if odd:
        name = draw(st.sampled_from([b"", b"", b"", b"./", b"././", b".//"])) + name
        name += draw(st.sampled_from([b""] * 40 + [b"/", b"/", b"//", b"/."]))
        if draw(st.integers(0, 99)) == 0:
            name = draw(st.sampled_from([b"/" + name, b"../" + name, name + b"/../b", b"."]))
    return name


@st.composite
def targets(draw: st.DrawFn) -> bytes:
    """What a symbolic link leads to."""
    odd = [b"/etc/passwd", b"../a", b"a/../b", b".", b"./a", b"a/", b"t" * 150, b"b//c"]
    return draw(st.one_of(names(odd=False), st.sampled_from(SHORT), st.sampled_from(odd)))


modes = st.sampled_from([0o644, 0o755, 0o600, 0o100, 0o4755, 0o2711, 0o444, 0o000, 0o011, 0o100644])
contents = st.one_of(st.binary(max_size=20), st.integers(500, 1100).map(lambda n: b"z" * n))


@st.composite
def sparse_parts(draw: st.DrawFn) -> tuple[int, Parts, bytes]:
    """A sparse file's real size, its parts, and what is stored."""
    parts: Parts = []
    stored = b""
    end = 0
    count = draw(st.sampled_from([0, 1, 2, 3, 4, 5, 9, 30]))
    for _ in range(count):
        offset = end + draw(st.sampled_from([0, 512, 1024, 5]))
        size = draw(st.sampled_from([512, 1024, 512, 7]))
        stored += padded(draw(st.binary(min_size=1, max_size=3)).ljust(size, b"s"))
        parts.append((offset, size))
        end = offset + size
    if draw(st.booleans()):
        end += draw(st.sampled_from([0, 512, 3000]))
        parts.append((end, 0))
    return end + draw(st.sampled_from([0, 0, 0, 100])), parts, stored


@st.composite
def named(
    draw: st.DrawFn,
    known: list[bytes],
    kind: bytes,
    *,
    size: int = 0,
    target: bytes = b"",
) -> bytes:
    """A header and those before it, the name and the target wherever a format has them."""
    name = draw(names())
    if kind == b"2" and (target.startswith(b"/") or b".." in target):
        # No other entry may have its name: see above.
        name = draw(names(odd=False)) + b"-%d" % len(known)
        known.append(SHORT[0])
    else:
        known.append(name)
    mode = draw(st.sampled_from([0o755, 0o700, 0o2777]) if kind == b"5" else modes)
    form: Form = draw(st.sampled_from(["v7", "ustar", "ustar", "gnu"]))
    style: Number = draw(st.sampled_from(["octal", "octal", "spaces", "unended", "binary"]))
    before = b""
    prefix = b""
    way = draw(st.sampled_from(["plain", "plain", "long", "pax", "prefix", "both"]))
    if way == "prefix" and form == "ustar" and b"/" in name[:-1].strip(b"/"):
        prefix, _, name = name.partition(b"/")
    elif way in {"long", "both"} or (len(name) > 100 and form == "gnu"):
        before += long_header(b"L", name)
    if way in {"pax", "both"} or len(name) > 100:
        before += pax_header((b"path", name), (b"comment", b"x=y\n=z"))
    if len(target) > 100 or (target and way == "both"):
        before += draw(
            st.sampled_from([long_header(b"K", target), pax_header((b"linkpath", target))])
        )
    if draw(st.integers(0, 9)) == 0:
        before = pax_header((b"comment", b"global"), kind=b"g") + before
    header = Header(
        name=name,
        kind=kind,
        mode=mode,
        size=size,
        target=target,
        prefix=prefix,
        form=form,
        style=style,
        signed=draw(st.integers(0, 9)) == 0,
    )
    return before + header.written()


@st.composite
def incremental(draw: st.DrawFn) -> bytes:
    """Directories with their lists, and files."""
    made = b""
    for number in range(draw(st.integers(1, 4))):
        data = draw(contents)
        kind = draw(st.sampled_from([b"0", b"D", b"D"]))
        name = draw(names(odd=False)) + b"-%d" % number
        mode = 0o755 if kind == b"D" else draw(modes)
        form: Form = draw(st.sampled_from(["gnu", "gnu", "ustar"]))
        header = Header(name=name[-100:], kind=kind, mode=mode, size=len(data), form=form)
        made += header.written() + padded(data)
    return made


@st.composite
def entries(draw: st.DrawFn, known: list[bytes]) -> bytes:
    """An entry, with its contents; ``known`` are the names of those before it."""
    kind = draw(st.sampled_from(KINDS))
    match kind:
        case "file" | "unknown" | "label":
            data = draw(contents)
            flag = draw(st.sampled_from(FLAGS[kind]))
            return draw(named(known, flag, size=len(data))) + padded(data)
        case "symlink":
            return draw(named(known, b"2", target=draw(targets())))
        case "hard link":
            target = draw(st.one_of(st.sampled_from(known), names()) if known else names())
            return draw(named(known, b"1", target=target, size=draw(st.sampled_from([0, 0, 9]))))
        case "sparse":
            return draw(gnu_sparse(known))
        case "sparse by pax":
            return draw(pax_sparse(known))
        case _:
            return draw(named(known, draw(st.sampled_from(FLAGS[kind]))))


KINDS: Final = 4 * (
    *("file", "file", "file", "directory", "directory", "symlink", "symlink", "hard link"),
    *("file", "file", "file", "directory", "directory", "symlink", "symlink", "hard link"),
    *("sparse", "sparse by pax", "sparse by pax", "unknown", "label"),
) + ("special",)
FLAGS: Final = {
    "file": [b"0", b"0", b"\0", b"7"],
    "unknown": [b"Z", b"N", b"s", b"8", b"A", b"Q"],
    "label": [b"V"],
    "directory": [b"5"],
    "special": [b"3", b"4", b"6", b"M"],
}


@st.composite
def gnu_sparse(draw: st.DrawFn, known: list[bytes]) -> bytes:
    """A sparse file as old GNU tar writes it."""
    size, parts, stored = draw(sparse_parts())
    header = Header(
        name=draw(names(odd=False)),
        kind=b"S",
        mode=draw(modes),
        size=len(stored),
        form=draw(st.sampled_from(["gnu", "gnu", "gnu", "ustar"])),
        sparse=(size, parts),
    )
    known.append(header.name)
    return header.written() + stored


@st.composite
def pax_sparse(draw: st.DrawFn, known: list[bytes]) -> bytes:
    size, parts, stored = draw(sparse_parts())
    name = draw(names(odd=False))
    known.append(name)
    version = draw(st.sampled_from(["0.0", "0.1", "1.0"]))
    if version == "1.0":
        about = [
            (b"GNU.sparse.major", b"1"),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.name", name),
            (b"GNU.sparse.realsize", b"%d" % size),
        ]
        numbers = [len(parts), *(value for part in parts for value in part)]
        stored = padded(b"".join(b"%d\n" % value for value in numbers)) + stored
    else:
        about = [(b"GNU.sparse.size", b"%d" % size), (b"GNU.sparse.numblocks", b"%d" % len(parts))]
        if version == "0.0":
            for offset, length in parts:
                about += [
                    (b"GNU.sparse.offset", b"%d" % offset),
                    (b"GNU.sparse.numbytes", b"%d" % length),
                ]
        elif parts:
            values = b",".join(b"%d,%d" % part for part in parts)
            about += [(b"GNU.sparse.name", name), (b"GNU.sparse.map", values)]
        about.append((b"path", name))
    header = Header(name=b"GNUSparseFile.0/x", mode=draw(modes), size=len(stored))
    return pax_header(*about) + header.written() + stored


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """An archive of a few entries, ended in one of the ways that there are."""
    if draw(st.integers(0, 9)) == 0:
        made = draw(incremental())
    else:
        known: list[bytes] = []
        count = draw(st.integers(0, 7))
        made = b"".join(draw(entries(known)) for _ in range(count))
    ends = {
        "as it should": bytes(2 * BLOCK),
        "filled up": bytes(-len(made) % 10240),
        "one block": bytes(BLOCK),
        "not at all": b"",
        "garbage after it": bytes(2 * BLOCK) + b"garbage" * 99,
        "another after it": bytes(2 * BLOCK) + made,
        "another at once": made + bytes(BLOCK),
        "a part of a block": bytes(100),
        "cut": None,
    }
    end = ends[draw(st.sampled_from([*ends, "as it should", "as it should"]))]
    if end is None:
        return Shown(made[: draw(st.integers(0, len(made)))])
    return Shown(made + end)
