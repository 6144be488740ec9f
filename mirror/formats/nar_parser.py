"""Reading a NAR (:mod:`mirror.formats.nar`) as its bytes arrive, in constant memory.

The parser checks everything that Nix 2.34 checks and tells a :class:`NarSink` what it finds, if one
is listening. What is kept is one name for each level that is open; a file's contents are looked at
only by their length and handed on without being copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from mirror.errors import FormatError
from mirror.formats import nar_strings as wire

if TYPE_CHECKING:
    from collections.abc import Generator

_SMALLEST_NODE: Final = len(wire.OPEN_TYPE) + len(wire.REGULAR)
"""Every node is longer than this, so waiting for as much never waits for ever."""


class NarSink(Protocol):
    """Receives the contents of a NAR, in order; ``name`` is empty for the root."""

    def enter_directory(self, name: bytes) -> None:
        """A directory begins."""
        ...

    def leave_directory(self) -> None:
        """The directory that was entered last ends."""
        ...

    def symlink(self, name: bytes, target: bytes) -> None:
        """A symbolic link."""
        ...

    def regular(self, name: bytes, size: int, *, executable: bool) -> None:
        """A file, whose contents follow, ``size`` bytes in all."""
        ...

    def contents(self, data: memoryview) -> None:
        """More of that file's contents; ``data`` is valid during the call only."""
        ...


class NarParser:
    """Checks a NAR that is fed to it in pieces of any size."""

    # The reading itself is a generator that stops wherever it needs more bytes. Its parts test
    # for themselves whether there are enough before they delegate the waiting: a NAR of many small
    # files has a dozen strings a file, and each delegation costs as much as the comparison.

    def __init__(self, sink: NarSink | None = None) -> None:
        self._sink = sink
        self._data = b""
        self._position = 0
        self._names: list[bytes] = []
        """The last name read in each open directory, from the root's down; empty before the first.
        """
        self._ended = False
        self._failure: FormatError | None = None
        self._steps = self._archive()
        next(self._steps)

    def feed(self, data: bytes) -> None:
        """Read more.

        Raises:
            FormatError: it is not a NAR that Nix accepts; the text says at which entry.

        """
        if self._failure is not None:
            raise self._failure
        if not data:
            return
        rest = self._data[self._position :]
        self._data = rest + data if rest else data
        self._position = 0
        try:
            if not self._ended:
                next(self._steps, None)
            if self._ended and self._position < len(self._data):
                raise FormatError("NAR: something follows its end")  # noqa: TRY301 - kept below
        except FormatError as error:
            self._failure = error
            raise

    def finish(self) -> None:
        """Say that nothing more comes.

        Raises:
            FormatError: the NAR is cut short.

        """
        if self._failure is not None:
            raise self._failure
        if not self._ended:
            raise FormatError(f"NAR: {self._where()}: cut short")

    def _where(self) -> str:
        return wire.show(self._path())

    def _path(self) -> bytes:
        return b"".join(b"/" + name for name in self._names if name)

    def _archive(self) -> Generator[None, None, None]:
        """Read the whole NAR; yields once at the very beginning."""
        yield
        yield from self._expect(wire.MAGIC)
        name: bytes | None = b""
        while name is not None:
            yield from self._node(name)
            name = yield from self._next_name()
        self._ended = True

    def _node(self, name: bytes) -> Generator[None, None, None]:
        """Read a whole file or link, or the beginning of a directory."""
        if len(self._names) >= wire.MAXIMUM_DEPTH:
            wire.check_depth(len(self._names), self._path())
        if len(self._data) - self._position < _SMALLEST_NODE:
            yield from self._more(_SMALLEST_NODE)
        if not self._data.startswith(wire.OPEN_TYPE, self._position):
            raise self._unexpected(wire.OPEN_TYPE)
        self._position += len(wire.OPEN_TYPE)
        if self._data.startswith(wire.REGULAR, self._position):
            self._position += len(wire.REGULAR)
            yield from self._regular(name)
        elif self._data.startswith(wire.SYMLINK_TYPE, self._position):
            yield from self._expect(wire.SYMLINK)
            target = yield from self._string(wire.MAXIMUM_TARGET, "a link's target")
            wire.check_target(target, self._path())
            if self._sink is not None:
                self._sink.symlink(name, target)
        else:
            yield from self._expect(wire.DIRECTORY)
            if self._sink is not None:
                self._sink.enter_directory(name)
            self._names.append(b"")
            return
        yield from self._expect(wire.CLOSE)

    def _next_name(self) -> Generator[None, None, bytes | None]:
        """Read from after a node to before the next one; None at the NAR's end.

        On the way entries and directories end.
        """
        names = self._names
        if names and names[-1]:
            yield from self._expect(wire.CLOSE)
        while names:
            if len(self._data) - self._position < len(wire.CLOSE):
                yield from self._more(len(wire.CLOSE))
            if not self._data.startswith(wire.CLOSE, self._position):
                break
            self._position += len(wire.CLOSE)
            names.pop()
            if self._sink is not None:
                self._sink.leave_directory()
            if names:
                yield from self._expect(wire.CLOSE)
        else:
            return None
        yield from self._expect(wire.ENTRY)
        name = yield from self._string(wire.MAXIMUM_NAME, "a name")
        if name <= names[-1] or b"/" in name or b"\0" in name or name in wire.RESERVED:
            previous, names[-1] = names[-1], b""
            wire.check_name(name, self._path())
            raise FormatError(
                f"NAR: {self._where()}: entry {wire.quote(name)!r} after {wire.quote(previous)!r}"
            )
        names[-1] = name
        yield from self._expect(wire.NODE)
        return name

    def _regular(self, name: bytes) -> Generator[None, None, None]:
        """Read a file from after its type to before its closing parenthesis."""
        if len(self._data) - self._position < len(wire.CONTENTS):
            yield from self._more(len(wire.CONTENTS))
        executable = not self._data.startswith(wire.CONTENTS, self._position)
        if executable:
            yield from self._expect(wire.EXECUTABLE)
        yield from self._expect(wire.CONTENTS)
        if len(self._data) - self._position < wire.LENGTH.size:
            yield from self._more(wire.LENGTH.size)
        (size,) = wire.LENGTH.unpack_from(self._data, self._position)
        self._position += wire.LENGTH.size
        sink = self._sink
        if sink is not None:
            sink.regular(name, size, executable=executable)
        left = size
        while left:
            available = min(left, len(self._data) - self._position)
            if not available:
                yield
                continue
            if sink is not None:
                with memoryview(self._data) as view:
                    sink.contents(view[self._position : self._position + available])
            self._position += available
            left -= available
        yield from self._padding(-size % 8)

    def _string(self, limit: int, what: str) -> Generator[None, None, bytes]:
        """Read a string of at most ``limit`` bytes."""
        if len(self._data) - self._position < wire.LENGTH.size:
            yield from self._more(wire.LENGTH.size)
        (size,) = wire.LENGTH.unpack_from(self._data, self._position)
        if size > limit:
            raise FormatError(f"NAR: {self._where()}: {what} of {size} bytes; {limit} are allowed")
        self._position += wire.LENGTH.size
        if len(self._data) - self._position < size:
            yield from self._more(size)
        string = self._data[self._position : self._position + size]
        self._position += size
        yield from self._padding(-size % 8)
        return string

    def _padding(self, size: int) -> Generator[None, None, None]:
        if len(self._data) - self._position < size:
            yield from self._more(size)
        if not self._data.startswith(wire.PADDING[:size], self._position):
            raise FormatError(f"NAR: {self._where()}: padding that is not zero")
        self._position += size

    def _expect(self, expected: bytes) -> Generator[None, None, None]:
        """Read these strings."""
        if len(self._data) - self._position < len(expected):
            yield from self._more(len(expected))
        if not self._data.startswith(expected, self._position):
            raise self._unexpected(expected)
        self._position += len(expected)

    def _unexpected(self, expected: bytes) -> FormatError:
        found = self._data[self._position : self._position + len(expected)]
        return FormatError(f"NAR: {self._where()}: expected {expected!r}, found {found!r}")

    def _more(self, size: int) -> Generator[None, None, None]:
        """Wait until ``size`` bytes can be read."""
        while len(self._data) - self._position < size:
            yield
