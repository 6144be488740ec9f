"""JSON documents of a destination, and directories that have one for each target.

A document is one object; ``version`` is 1, the other members are those of the value that it is of,
and the last, ``digest``, is the SHA-256 (SRI) of the file's bytes before it: whatever becomes of
one of them is noticed. Documents of before there was a digest can be read.

Each file is replaced whole, so that reading and writing take no lock. Blocking, for use off the
event loop.
"""

from __future__ import annotations

import contextlib
import json
import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from mirror.destinations import files
from mirror.errors import DestinationError, FormatError, printable
from mirror.formats.hashes import Hash
from mirror.formats.store_path import StorePath
from mirror.masking import document_without_secrets
from mirror.planning.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_VERSION: Final = 1
_YEARS: Final = range(1970, 9999)
_LARGEST_COUNT: Final = (1 << 63) - 1
_LONGEST_SHOWN: Final = 200
_DIGEST: Final = re.compile(rb',\n "digest": "([^"\n]*)"\n}\n\Z')
_END: Final = b"\n}\n"


class OfTarget(Protocol):
    """The content of a document: something that belongs to a target."""

    @property
    def target(self) -> str:
        """The target's name."""
        ...


_Value = TypeVar("_Value", bound=OfTarget)

Told = Callable[[DestinationError], None]
"""What is told of a document that cannot be read, which is then left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[_Value]):
    """A kind of document: ``noun`` is what errors call it.

    ``members`` gives a value as JSON has it, ``value`` makes it of that again; it may raise
    ValueError, KeyError, TypeError or AttributeError for what is none.

    What is written has no credentials of URLs; of what an earlier version wrote, they are left out
    where it is read.
    """

    noun: str
    members: Callable[[_Value], dict[str, Any]]
    value: Callable[[Mapping[str, Any]], _Value]

    def render(self, value: _Value) -> bytes:
        """Write a document."""
        return _with_digest(_printed(document_without_secrets(self._document(value))))

    def parse(self, data: bytes) -> _Value:
        """Read a document.

        Raises:
            FormatError: it is not one that this version wrote, or has changed since.

        """
        return self._parse(data, as_written=False)

    def _parse(self, data: bytes, *, as_written: bool) -> _Value:
        told = _DIGEST.search(data)
        if told is not None and data != _with_digest(data[: told.start()] + _END):
            raise FormatError(f"the {self.noun} is damaged: checksum mismatch")
        try:
            document = json.loads(data)
            if document["version"] != _VERSION:
                raise FormatError(
                    f"a {self.noun} of version {document['version']!r}, not {_VERSION}"
                )
            return self.value(document if as_written else document_without_secrets(document))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, FormatError):
                raise
            # Not all of what it was about: that may be the whole file.
            raise FormatError(f"not a {self.noun}: {_shortened(repr(error))}") from error

    def is_sealed(self, data: bytes) -> bool:
        """Whether a document has a digest; one of before there was any cannot be proven right.

        Raises:
            FormatError: it is none, or has changed since it was written, its digest perhaps.

        """
        value = self._parse(data, as_written=True)
        if _DIGEST.search(data) is not None:
            return True
        if data != _printed(self._document(value)):
            raise FormatError(f"the {self.noun} is not what was written")
        return False

    def _document(self, value: _Value) -> dict[str, Any]:
        return {"version": _VERSION, **self.members(value)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents(Generic[_Value]):
    """A directory of documents, one a target, which need not be there yet.

    ``hint`` says what to do about one that cannot be read.
    """

    directory: Path
    kind: Kind[_Value]
    hint: str

    def write(self, value: _Value) -> None:
        """Put the document in the place of the target's earlier one, durably.

        Raises:
            DestinationError: it cannot be written.

        """
        path = self.directory / f"{file_name(value.target)}.json"
        with files.explained(path):
            files.make_directory(self.directory)
            files.replace_file(path, self.kind.render(value), temporaries=self.directory)
            files.sync_directory(self.directory)

    def remove(self, target: str) -> None:
        """Remove a target's document, if there is one.

        Raises:
            DestinationError: it cannot be removed.

        """
        path = self.directory / f"{file_name(target)}.json"
        with files.explained(path), contextlib.suppress(FileNotFoundError):
            path.unlink()
            files.sync_directory(self.directory)

    def read(self, unreadable: Told | None = None) -> list[_Value]:
        """Every target's document, by target.

        Raises:
            DestinationError: one cannot be read, and there is no ``unreadable`` to be told.

        """
        found = read_all(self.directory, self.kind, unreadable, hint=self.hint)
        return sorted(found, key=lambda value: value.target)


def read_all(
    directory: Path, kind: Kind[_Value], unreadable: Told | None, *, hint: str
) -> list[_Value]:
    """Read a directory's documents, in no order.

    Raises:
        DestinationError: it, or one of them, cannot be read, and there is no ``unreadable`` to be
            told; a document's ``hint`` says what to do about it.

    """
    found = []
    for path in entries(directory, unreadable):
        if path.suffix != ".json":
            continue
        dropped = contextlib.suppress(FileNotFoundError)
        with telling(unreadable), explained(path, hint=hint), dropped:
            found.append(kind.parse(files.read_plain_file(path)))
    return found


def entries(directory: Path, unreadable: Told | None) -> list[Path]:
    """What is in a directory, nothing if it is missing; a glob finds nothing in a locked one, too.

    Raises:
        DestinationError: it cannot be read, and there is no ``unreadable`` to be told.

    """
    missing = contextlib.suppress(FileNotFoundError)
    with telling(unreadable), files.explained(directory), missing:
        return list(directory.iterdir())
    return []


@contextlib.contextmanager
def telling(unreadable: Told | None) -> Iterator[None]:
    """Report an error to ``unreadable`` instead of raising it, if that is given."""
    try:
        yield
    except DestinationError as error:
        if unreadable is None:
            raise
        unreadable(error)


@contextlib.contextmanager
def explained(path: Path, *, hint: str) -> Iterator[None]:
    """Turn whatever keeps a document from being read into a :class:`DestinationError`."""
    try:
        with files.explained(path):
            yield
    except FormatError as error:
        raise DestinationError(f"{path}: {error.message}", hint=hint) from error


def moment(value: object) -> datetime:
    """A time in ISO 8601, with its time zone.

    Raises:
        ValueError: it is something else, or none that every time zone can show.

    """
    found = datetime.fromisoformat(str(value))
    if found.tzinfo is None:
        raise ValueError(f"a time without its time zone: {value!r}")
    if found.year not in _YEARS:
        raise ValueError(f"not a plausible time: {value!r}")
    return found


def name(value: object) -> str:
    """What something is called: text as a list may have it, on one line.

    Raises:
        ValueError: a terminal would obey something in it, or no encoding has it.

    """
    found = str(value)
    if not all(each.isprintable() or (each.isspace() and each not in "\r\n") for each in found):
        raise ValueError(f"not a name: {found!r}")
    return found


def text(value: object) -> str:
    """Text of any number of lines, with control characters escaped."""
    return printable(str(value))


def refused(document: Mapping[str, Any]) -> tuple[Refusal, ...]:
    """The refusals of a document; one of before they were recorded has none.

    Raises:
        ValueError, KeyError, TypeError: they are something else.

    """
    return tuple(
        Refusal(
            path=StorePath.parse(each["path"]),
            cache=text(each["cache"]),
            reason=text(each["reason"]),
            hint=text(each["hint"]),
            signers=tuple(text(signer) for signer in each["signers"]),
            allowed=bool(each["allowed"]),
        )
        for each in document.get("refused", ())
    )


def count(value: object) -> int:
    """A natural number, of a size that can be meant.

    Raises:
        ValueError: it is something else.

    """
    if not isinstance(value, int) or not 0 <= value <= _LARGEST_COUNT:
        raise ValueError(f"not a plausible number: {str(value)[:_LONGEST_SHOWN]}")
    return value


def _printed(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1).encode() + b"\n"


def _with_digest(document: bytes) -> bytes:
    """Add the last member to a document that lacks it."""
    content = document.removesuffix(_END)
    return content + f',\n "digest": "{Hash.of(content).sri}"'.encode() + _END


def file_name(target: str) -> str:
    """``target`` as one component of a file name: no separator, never hidden, never special."""
    quoted = urllib.parse.quote(target, safe="+@=,")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
