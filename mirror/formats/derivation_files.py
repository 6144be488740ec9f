"""Reading thousands of ``.drv`` files, of which most are hardly looked into.

What makes a graph (outputs, input derivations, input sources) and what derivations share (system,
builder, arguments) is read at once; the environment, which is most of the file, once something of
it is asked for. What many derivations have in common is read once: an input derivation with its
wanted outputs, a builder with its arguments.

Only what :func:`mirror.formats.aterm.parse_derivation` accepts is read, and to the same values. A
text whose beginning is in any way out of the ordinary is left to it altogether.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from mirror.errors import FormatError
from mirror.formats.aterm import escape, parse_derivation, parse_environment
from mirror.formats.derivation import Derivation, Output
from mirror.formats.store_path import PATTERN, StorePath

if TYPE_CHECKING:
    from collections.abc import Callable

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_BEGINNING: Final = b"Derive([("
_BETWEEN: Final = b")],["
# The last variable's end. No derivation of Nix is without variables.
_END: Final = b'")])'

# In bytes, some five input derivations.
_FEW: Final = 500

# Strings in which nothing is escaped.
_STRING: Final = r'"([^"\\\n\r\t]*)"'
_STRINGS: Final = r'("[^"\\\n\r\t]*"(?:,"[^"\\\n\r\t]*")*)'
_OUTPUT: Final = re.compile(rf'{_STRING},"({PATTERN})?",{_STRING},{_STRING}')
_INPUT: Final = re.compile(rf'"({PATTERN})",\[{_STRINGS}')
_LIST: Final = re.compile(rf"{_STRINGS}?")
_MIDDLE: Final = re.compile(rf"{_STRING},{_STRING},\[{_STRINGS}?\]")


class DerivationFiles:
    """Reads the files of a graph, and remembers what they have in common."""

    def __init__(self) -> None:
        self._paths: dict[str, StorePath] = {}
        self._names = _Remembered(_read_names)
        self._input = _Remembered(self._read_input)
        self._inputs = _Remembered(self._read_inputs)
        self._sources = _Remembered(self._read_sources)
        self._middle = _Remembered(_read_middle)

    def read(self, path: StorePath, data: bytes) -> Derivation:
        """Read the bytes of the file at ``path``.

        Raises:
            FormatError: they are not a derivation as Nix writes it. What is wrong with its
                environment is said when that is read.

        """
        try:
            return self._read(path, data)
        except FormatError:
            return parse_derivation(path, data)

    def _read(self, path: StorePath, data: bytes) -> Derivation:
        """Cut where a field must end. What is between is whole strings, or is refused."""
        if not (data.startswith(_BEGINNING) and data.endswith(_END)):
            raise FormatError("an unusual beginning or end")
        outputs = data[len(_BEGINNING) : data.find(_BETWEEN)]
        start = len(_BEGINNING) + len(outputs) + len(_BETWEEN)
        inputs: Mapping[StorePath, tuple[str, ...]] = {}
        if data.startswith(b"(", start):
            written = data[start + 1 : data.find(_BETWEEN, start)]
            # Fetchers of a kind need the same few; whoever needs many is alone with them.
            is_few = len(written) < _FEW
            inputs = self._inputs[written] if is_few else self._read_inputs(written)
            start += 1 + len(written) + len(_BETWEEN)
        elif data.startswith(b"],[", start):
            start += 3
        else:
            raise FormatError("unusual input derivations")
        sources = data[start : data.find(b'],"', start)]
        start += len(sources) + 2
        middle = data[start : data.find(b',[("', start)]
        start += len(middle) + 1
        system, builder, arguments = self._middle[middle]
        return Derivation(
            path=path,
            outputs=_read_outputs(outputs),
            input_derivations=inputs,
            input_sources=self._sources[sources],
            system=system,
            builder=builder,
            arguments=arguments,
            environment=_Environment(path, data[start:]),
        )

    def _read_inputs(self, text: bytes) -> Mapping[StorePath, tuple[str, ...]]:
        if not text.endswith(b"]"):
            raise FormatError("unusual input derivations")
        each = text[:-1].split(b"]),(")
        inputs = dict(map(self._input.__getitem__, each))
        if len(inputs) != len(each):
            raise FormatError("an input derivation twice")
        return inputs

    def _read_input(self, text: bytes) -> tuple[StorePath, tuple[str, ...]]:
        path, names = _matched(_INPUT, text)
        # One object for each path and each list of names, however often they are written.
        return self._paths.setdefault(path, StorePath(path)), self._names[names]

    def _read_sources(self, text: bytes) -> tuple[StorePath, ...]:
        return tuple(map(StorePath.parse, _strings(*_matched(_LIST, text))))


class _Remembered(dict[_Key, _Value], Generic[_Key, _Value]):
    """Results of ``read``, kept so that equal texts are read only once."""

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[_Key], _Value]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, text: _Key) -> _Value:
        value = self[text] = self._read(text)
        return value


def _read_outputs(text: bytes) -> dict[str, Output]:
    outputs = {}
    each = text.decode("utf-8", "surrogateescape").split("),(")
    for output in each:
        found = _OUTPUT.fullmatch(output)
        if found is None:
            raise FormatError("an unusual output")
        name, path, algorithm, digest = found.groups()
        outputs[sys.intern(name)] = Output(
            StorePath(path) if path else None, sys.intern(algorithm), digest
        )
    if len(outputs) != len(each):
        raise FormatError("an output twice")
    return outputs


def _read_middle(text: bytes) -> tuple[str, str, tuple[str, ...]]:
    system, builder, arguments = _matched(_MIDDLE, text)
    return system, builder, tuple(_strings(arguments))


def _read_names(text: str) -> tuple[str, ...]:
    return tuple(map(sys.intern, _strings(text)))


def _matched(pattern: re.Pattern[str], text: bytes) -> tuple[str, ...]:
    found = pattern.fullmatch(text.decode("utf-8", "surrogateescape"))
    if found is None:
        raise FormatError("unusual text")
    return found.groups("")


def _strings(text: str) -> list[str]:
    return text[1:-1].split('","') if text else []


class _Environment(Mapping[str, str]):
    """The environment of the derivation at ``path``, as ``text``: the end of its file.

    Reading raises :class:`FormatError` if that is not as Nix writes it. That a variable is absent
    is seen without reading: in a text that Nix writes it would begin in one way only.
    """

    __slots__ = ("_path", "_text")

    def __init__(self, path: StorePath, text: bytes) -> None:
        self._path = path
        self._text = text

    def _read(self) -> Mapping[str, str]:
        try:
            return _parsed(self._text)
        except FormatError as error:
            raise FormatError(f"{self._path} is not a derivation: {error.message}") from error

    def __getitem__(self, name: str) -> str:
        if _beginning(name) not in self._text:
            raise KeyError(name)
        return self._read()[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _beginning(name) in self._text and name in self._read()

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return repr(dict(self))


# Whoever looks into an environment mostly asks for several variables, one after the other.
_parsed = functools.lru_cache(maxsize=128)(parse_environment)


@functools.lru_cache(maxsize=128)
def _beginning(name: str) -> bytes:
    """How a variable's place in an environment begins."""
    return f'("{escape(name)}","'.encode("utf-8", "surrogateescape")
