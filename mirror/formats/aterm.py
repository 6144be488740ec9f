r"""The ATerm text of ``.drv`` files: read and write, byte for byte.

::

    Derive([("out","/nix/store/…","",""),…],          outputs
           [("/nix/store/….drv",["out",…]),…],        input derivations, wanted outputs
           ["/nix/store/…",…],                        input sources
           "x86_64-linux","/nix/store/…/bin/bash",    system, builder
           ["-e",…],[("name","value"),…])             arguments, environment

without any white space between. Strings escape ``\``, ``"``, newline, carriage return and tab with
a backslash; every other byte stands for itself. ``DrvWithVersion("xp-dyn-drv",[…],…)`` is the same
with a version in front. Only what :func:`print_derivation` would write again byte for byte is
accepted, since a ``.drv``'s path depends on its bytes. Source: Nix's
``src/libstore/derivations.cc``.

The text is cut at its quotes, all at once: between two cuts there is either a whole string or a
whole piece of structure. This is some ten times faster in Python than going through tokens.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError
from mirror.formats.derivation import Derivation, Output
from mirror.formats.store_path import StorePath

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DYNAMIC_VERSION: Final = "xp-dyn-drv"
"""The only version that ``DrvWithVersion`` is known with."""

_FIELDS_OF_OUTPUT: Final = 4
# Stand-ins for escapes while the text is cut; the first three that a text lacks are taken, which
# are nearly always the first three. What an escape can stand for must not be among them.
_STAND_INS: Final = (range(0x09), range(0x0E, 0x20), range(0x7F, 0x110000))

# A path is named by many derivations: checked once, and one object instead of many.
_store_path = functools.lru_cache(maxsize=1 << 17)(StorePath.parse)


def parse_derivation(path: StorePath, data: bytes) -> Derivation:
    """Read the bytes of the file at ``path``.

    Raises:
        FormatError: they are not a derivation as Nix writes it.

    """
    try:
        strings, structure = _cut(data.decode("utf-8", "surrogateescape"))
        return _Reader(strings, structure).derivation(path)
    except IndexError as error:
        raise FormatError(f"{path} is not a derivation: it ends early") from error
    except FormatError as error:
        raise FormatError(f"{path} is not a derivation: {error.message}") from error


def parse_environment(data: bytes) -> dict[str, str]:
    """Read the end of a file, from its environment on: ``[("name","value"),…])``.

    Raises:
        FormatError: it is not the end of a derivation as Nix writes it.

    """
    return _Reader(*_cut(data.decode("utf-8", "surrogateescape"))).environment()


def print_derivation(derivation: Derivation) -> bytes:
    """Write the file, as Nix does; the inverse of :func:`parse_derivation`."""
    return render(derivation, derivation.input_derivations.items())


def render(
    derivation: Derivation,
    inputs: Iterable[tuple[str, Sequence[str]]],
    *,
    mask_outputs: bool = False,
) -> bytes:
    """Write the file with ``inputs`` in place of its input derivations.

    ``mask_outputs`` leaves out its output paths, there and in its environment. Both are what
    output paths are computed from (:mod:`mirror.formats.derivation_paths`).
    """
    outputs = ",".join(
        f'("{escape(name)}","{"" if mask_outputs else output.path or ""}",'
        f'"{escape(output.hash_algorithm)}","{escape(output.hash)}")'
        for name, output in derivation.outputs.items()
    )
    input_derivations = ",".join(f'("{path}",{_list(names)})' for path, names in inputs)
    environment = ",".join(
        f'("{escape(name)}","'
        f'{"" if mask_outputs and name in derivation.outputs else escape(value)}")'
        for name, value in derivation.environment.items()
    )
    version = derivation.version
    head = "Derive(" if version is None else f'DrvWithVersion("{escape(version)}",'
    return (
        f"{head}[{outputs}],[{input_derivations}],{_list(derivation.input_sources)},"
        f'"{escape(derivation.system)}","{escape(derivation.builder)}",'
        f"{_list(derivation.arguments)},[{environment}])"
    ).encode("utf-8", "surrogateescape")


def _list(strings: Sequence[str]) -> str:
    inner = '","'.join(map(escape, strings))
    # A list of one empty string and an empty list differ.
    return f'["{inner}"]' if inner or strings else "[]"


def escape(text: str) -> str:
    """A string's text as it stands between its quotes."""
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


def _cut(text: str) -> tuple[list[str], list[str]]:
    """Cut at the quotes: the strings, unescaped, and the structure around them."""
    backslash, quote, cut = (
        "\0\1\2"
        if "\0" not in text and "\1" not in text and "\2" not in text
        else itertools.islice(
            (c for c in map(chr, itertools.chain(*_STAND_INS)) if c not in text), 3
        )
    )
    if "\n" in text or "\r" in text or "\t" in text:
        raise FormatError("a newline, carriage return or tab that is not escaped")
    if "\\" in text:
        text = text.replace("\\\\", backslash).replace('\\"', quote).replace('"', cut)
        text = text.replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t")
        if "\\" in text:
            raise FormatError("an unknown escape")
        pieces = text.replace(backslash, "\\").replace(quote, '"').split(cut)
    else:
        pieces = text.split('"')
    if len(pieces) % 2 == 0:
        raise FormatError("a string does not end")
    return pieces[1::2], pieces[0::2]


class _Reader:
    """Reads the fields in their order; ``position`` counts strings.

    ``structure[n]`` stands before ``strings[n]``, and the last piece of structure at the end. A
    field's reader leaves in ``rest`` what of the structure before the next string is still unread.
    """

    __slots__ = ("position", "rest", "strings", "structure")

    def __init__(self, strings: list[str], structure: list[str]) -> None:
        self.strings = strings
        self.structure = structure
        self.position = 0
        self.rest = structure[0]

    def derivation(self, path: StorePath) -> Derivation:
        version = self._version()
        outputs = self._outputs()
        self._expect(",", "after the outputs")
        inputs = self._input_derivations(version)
        self._expect(",", "after the input derivations")
        sources = tuple(map(_store_path, self._list("an input source")))
        self._expect(",", "after the input sources")
        system = self._string("the system")
        self._expect(",", "after the system")
        builder = self._string("the builder")
        self._expect(",", "after the builder")
        arguments = tuple(self._list("an argument"))
        self._expect(",", "after the arguments")
        environment = self.environment()
        return Derivation(
            path=path,
            outputs=outputs,
            input_derivations=inputs,
            input_sources=sources,
            system=system,
            builder=builder,
            arguments=arguments,
            environment=environment,
            version=version,
        )

    def _expect(self, text: str, where: str) -> None:
        if not self.rest.startswith(text):
            raise FormatError(f"expected {text!r} {where}, found {self.rest[:20]!r}")
        self.rest = self.rest[len(text) :]

    def _string(self, what: str) -> str:
        if self.rest or self.position >= len(self.strings):
            raise FormatError(f"expected a string, {what}, found {self.rest[:20]!r}")
        string = self.strings[self.position]
        self.position += 1
        self.rest = self.structure[self.position]
        return string

    def _version(self) -> str | None:
        if self.rest.startswith("Derive("):
            self.rest = self.rest[len("Derive(") :]
            return None
        self._expect("DrvWithVersion(", "or 'Derive(' at the beginning")
        version = self._string("the version")
        if version != DYNAMIC_VERSION:
            raise FormatError(f"its version is {version!r}; only {DYNAMIC_VERSION!r} is known")
        self._expect(",", "after the version")
        return version

    def _outputs(self) -> dict[str, Output]:
        outputs: dict[str, Output] = {}
        self._expect("[(", "before the outputs")
        while True:
            if self.rest:
                raise FormatError(f"expected an output's name, found {self.rest[:20]!r}")
            start, end = self.position, self.position + _FIELDS_OF_OUTPUT
            fields = self.strings[start:end]
            if len(fields) != _FIELDS_OF_OUTPUT or (
                self.structure[start + 1 : end] != [",", ",", ","]
            ):
                raise FormatError("an output does not have four strings")
            name, path, algorithm, digest = fields
            if name in outputs:
                raise FormatError(f"two outputs {name!r}")
            outputs[name] = Output(_store_path(path) if path else None, algorithm, digest)
            self.position = end
            self.rest = self.structure[end]
            if self.rest != "),(":
                self._expect(")]", "after the outputs")
                return outputs
            self.rest = ""

    def _input_derivations(self, version: str | None) -> dict[StorePath, tuple[str, ...]]:
        inputs: dict[StorePath, tuple[str, ...]] = {}
        if self.rest.startswith("[]"):
            self.rest = self.rest[2:]
            return inputs
        self._expect("[(", "before the input derivations")
        strings, structure, position = self.strings, self.structure, self.position
        if self.rest:
            raise FormatError(f"expected an input derivation, found {self.rest[:20]!r}")
        after = "),("
        while after == "),(":
            path = _store_path(strings[position])
            if path in inputs:
                raise FormatError(f"two input derivations {path}")
            before_names = structure[position + 1]
            start = end = position + 1
            if before_names == ",[":
                end += 1
                while structure[end] == ",":
                    end += 1
                closed = structure[end].startswith("]")
                after = structure[end][1:]
            else:
                closed = before_names.startswith(",[]")
                after = before_names[len(",[]") :]
            if version is not None and before_names.startswith(",(["):
                raise FormatError(
                    f"it needs outputs of a derivation that {path} makes while it is built "
                    "(dynamic derivations), which cannot be known beforehand"
                )
            if not closed:
                raise FormatError(f"expected the wanted outputs of {path} in a list")
            inputs[path] = tuple(strings[start:end])
            position = end
        self.position = position
        self.rest = after
        self._expect(")]", "after the input derivations")
        return inputs

    def _list(self, what: str) -> list[str]:
        """A list of strings."""
        if self.rest.startswith("[]"):
            self.rest = self.rest[2:]
            return []
        self._expect("[", f"before {what}")
        start = end = self.position
        if self.rest or end >= len(self.strings):
            raise FormatError(f"expected a string, {what}, found {self.rest[:20]!r}")
        end += 1
        while self.structure[end] == ",":
            end += 1
        if end > len(self.strings):
            raise FormatError(f"a list ends early: {what}")
        self.position = end
        self.rest = self.structure[end]
        self._expect("]", f"after {what}")
        return self.strings[start:end]

    def environment(self) -> dict[str, str]:
        """The last field and the end of the text, read in two slices."""
        environment = self._environment()
        if self.rest != ")" or self.position != len(self.strings):
            raise FormatError("something follows the environment, or the end is missing")
        return environment

    def _environment(self) -> dict[str, str]:
        if self.rest.startswith("[]"):
            self.rest = self.rest[2:]
            return {}
        self._expect("[(", "before the environment")
        names, values = self.strings[self.position :: 2], self.strings[self.position + 1 :: 2]
        after_names = self.structure[self.position + 1 : -1 : 2]
        after_values = self.structure[self.position + 2 : -1 : 2]
        if (
            self.rest
            or len(names) != len(values)
            or after_names.count(",") != len(names)
            or after_values.count("),(") != len(names) - 1
        ):
            raise FormatError("the environment is not a list of pairs of strings")
        environment = dict(zip(names, values, strict=True))
        if len(environment) != len(names):
            raise FormatError("two variables of one name in the environment")
        self.position = len(self.strings)
        self.rest = self.structure[-1]
        self._expect(")]", "after the environment")
        return environment
