"""A patch as nixpkgs' fetchpatch normalises it, from its download to what its hash is of.

The steps are those of ``postFetch`` in nixpkgs' pkgs/build-support/fetchpatch/default.nix: decode
it; take the files in the order of their names, each with its names rewritten and comments dropped;
of these take the files and hunks that are wanted; take it all back. It fails where fetchpatch does.
"""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError
from mirror.sources.patches.filterdiff import Filter, parts
from mirror.sources.patches.globs import Glob
from mirror.sources.patches.interdiff import reverted
from mirror.sources.patches.names import Renaming, stripped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mirror.planning.fetchers.fixed_outputs import PatchOptions

MOST_BYTES: Final = 16 << 20
MOST_LINES: Final = 1_000_000
"""What is normalised at most: that takes some seconds and 150 MB of memory."""

_LONGEST_NAME: Final = 4_096
_MOST_COMPARED: Final = 1_000_000


def normalised(download: bytes, options: PatchOptions) -> bytes:
    """What fetchpatch with ``options`` makes of ``download``.

    Raises:
        FormatError: it is not a patch, nothing of it is left, or it is not supported here.

    """
    patch = _decoded(download) if options.base64 else download
    if len(patch) > MOST_BYTES or patch.count(b"\n") > MOST_LINES:
        raise FormatError(f"it is larger than {MOST_BYTES:,} bytes or {MOST_LINES:,} lines")
    cleaned = _cleaned(patch, options)
    if not cleaned:
        raise FormatError("it contains no patch")
    filtered = _filtered(cleaned, options)
    if not filtered:
        raise FormatError("nothing is left of the patch: its includes or excludes match no file")
    if options.revert:
        return reverted(filtered, may_have_empty_lines=not options.git_headers)
    return filtered


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text.replace(b"\n", b""), validate=True)
    except ValueError as error:
        raise FormatError(f"it is not base64: {error}") from error


def _cleaned(patch: bytes, options: PatchOptions) -> bytes:
    """Each file once, in the order of their names, without comments, its names rewritten."""
    renaming = Renaming(
        strip=options.strip,
        old_prefix=_bytes(options.old_prefix),
        new_prefix=_bytes(options.new_prefix),
    )
    filtering = Filter(git_headers=options.git_headers, renaming=renaming, clean=True)
    by_name: dict[bytes, list[bytes]] = defaultdict(list)
    for part in parts(patch, filtering):
        if part.name is not None:
            by_name[part.name].append(part.text)
    # A name is listed on a line of its own, wherever that ends.
    listed = b"".join(name + b"\n" for name in by_name if _is_below(name, options.relative))
    names = sorted(set(listed.split(b"\n")[:-1]))
    return b"".join(_selected(names, by_name, options))


def _selected(
    names: Iterable[bytes], by_name: dict[bytes, list[bytes]], options: PatchOptions
) -> Iterator[bytes]:
    """Of each of ``names``, taken as a pattern, the diffs of all files that it matches."""
    compared = 0
    for name in names:
        if len(name) > _LONGEST_NAME:
            raise FormatError("the name of a file in it is too long")
        pattern = re.sub(rb"([*?])", rb"\\\1", name)
        if not options.quotes_names:
            if re.search(rb"['\"\\]|\A[ \t]", name):
                raise FormatError(f"the name {name!r} in it has quotes, for which xargs fails")
            # xargs takes away what `*` and `?` were quoted with.
            pattern = name
            if not name:
                continue
        if not re.search(rb"[\[\\*?]", pattern):
            yield from by_name.get(name, ())
            continue
        compared += len(by_name)
        if compared > _MOST_COMPARED:
            raise FormatError("too many names of files in it have special characters")
        glob = Glob.parse(pattern)
        # The order is that of the patch, in which the files of one name are together only here.
        matching = [each for each in by_name if glob.matches(each)]
        if len(matching) > 1:
            raise FormatError(f"the name {name!r} in it stands for several files")
        for each in matching:
            yield from by_name[each]


def _is_below(name: bytes, directory: str | None) -> bool:
    if directory is None:
        return True
    return Glob.parse(_bytes(directory) + b"/*").matches(stripped(name, 1))


def _filtered(patch: bytes, options: PatchOptions) -> bytes:
    """The files and hunks that are wanted; where files are excluded, prose is kept."""
    filtering = Filter(
        git_headers=options.git_headers,
        wants=_choice(options.includes, options.excludes),
        hunks=options.hunks,
        prose=bool(options.excludes),
    )
    return b"".join(part.text for part in parts(patch, filtering))


def _choice(includes: tuple[str, ...], excludes: tuple[str, ...]) -> Callable[[bytes], bool]:
    wanted = [Glob.parse(_bytes(pattern)) for pattern in includes]
    unwanted = [Glob.parse(_bytes(pattern)) for pattern in excludes]

    def wants(name: bytes) -> bool:
        name = stripped(name, 1)
        if any(glob.matches(name) for glob in unwanted):
            return False
        return not wanted or any(glob.matches(name) for glob in wanted)

    return wants


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
