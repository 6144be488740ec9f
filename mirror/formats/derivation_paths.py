"""The paths that follow from derivations: their own, and their outputs'.

A ``.drv`` is a text that refers to its input sources and input derivations. A fixed output's path
follows from its hash. Every other output's path follows from the derivation with its own output
paths left out and with each input derivation replaced by the hash of what it *means*
(``hashDerivationModulo``): for a fixed output its hash and path, however it is fetched, and else
the hash of the derivation whose input derivations were replaced in the same way. Source: Nix's
``src/libstore/derivations.cc``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.errors import FormatError
from mirror.formats.aterm import print_derivation, render
from mirror.formats.content_address import fixed_output_path, make_store_path, text_path
from mirror.formats.hashes import Hash

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.formats.derivation import Derivation, Output
    from mirror.formats.store_path import StorePath

_RECURSIVE = "r:"


def derivation_path(derivation: Derivation) -> StorePath:
    """The path that the derivation's text has, under the name of ``derivation.path``."""
    return text_path(
        derivation.path.name,
        hash=Hash.of(print_derivation(derivation)),
        references=[*derivation.input_sources, *derivation.input_derivations],
    )


class OutputPaths:
    """Computes output paths; ``lookup`` gives the derivation that is at a ``.drv`` path.

    What was computed for an input derivation is remembered, so that a whole graph takes one pass.
    """

    def __init__(self, lookup: Callable[[StorePath], Derivation]) -> None:
        self._lookup = lookup
        self._meanings: dict[StorePath, str] = {}

    def of(self, derivation: Derivation) -> dict[str, StorePath]:
        """The path of each output, computed and not taken from ``derivation.outputs``.

        Raises:
            FormatError: an output's path is known only after a build (content-addressed, impure or
                deferred outputs), or the input derivations form a cycle.

        """
        name = derivation.path.name.removesuffix(".drv")
        fixed = _fixed_output(derivation)
        if fixed is not None:
            digest, recursive = _fixed_hash(derivation, fixed)
            return {"out": fixed_output_path(name, hash=digest, recursive=recursive)}
        self._compute_inputs(derivation)
        masked = Hash.of(self._replaced(derivation, mask_outputs=True))
        return {
            output: make_store_path(
                f"output:{output}", masked, name if output == "out" else f"{name}-{output}"
            )
            for output in derivation.outputs
        }

    def _compute_inputs(self, derivation: Derivation) -> None:
        """Fill ``_meanings`` for the input derivations; no recursion, since graphs are deep."""
        pending: list[tuple[StorePath, Derivation | None]] = [
            (path, None) for path in derivation.input_derivations
        ]
        entered: set[StorePath] = {derivation.path}
        while pending:
            path, found = pending.pop()
            if path in self._meanings:
                continue
            if found is None:
                if path in entered:
                    raise FormatError(f"the input derivations of {path} form a cycle")
                found = self._lookup(path)
                fixed = _fixed_output(found)
                if fixed is not None:
                    self._meanings[path] = _fixed_meaning(found, fixed)
                    continue
                missing = [p for p in found.input_derivations if p not in self._meanings]
                if missing:
                    entered.add(path)
                    pending.append((path, found))
                    pending.extend((p, None) for p in missing)
                    continue
            entered.discard(path)
            self._meanings[path] = Hash.of(self._replaced(found, mask_outputs=False)).base16

    def _replaced(self, derivation: Derivation, *, mask_outputs: bool) -> bytes:
        if any(output.path is None for output in derivation.outputs.values()):
            # Deferred outputs are input-addressed too, but by inputs that must be built first.
            raise FormatError(f"{derivation.path} has outputs whose paths only a build can tell")
        inputs: dict[str, set[str]] = {}
        for path, names in derivation.input_derivations.items():
            inputs.setdefault(self._meanings[path], set()).update(names)
        in_order = ((meaning, sorted(names)) for meaning, names in sorted(inputs.items()))
        return render(derivation, in_order, mask_outputs=mask_outputs)


def _fixed_output(derivation: Derivation) -> Output | None:
    """The output of a fixed-output derivation, None for any other derivation.

    Raises:
        FormatError: it has a fixed output among others, or one that is not called ``out``.

    """
    if not derivation.is_fixed:
        return None
    if list(derivation.outputs) != ["out"]:
        raise FormatError(
            f"{derivation.path} has a fixed output, but not exactly one output, `out`"
        )
    return derivation.outputs["out"]


def _fixed_hash(derivation: Derivation, output: Output) -> tuple[Hash, bool]:
    recursive = output.hash_algorithm.startswith(_RECURSIVE)
    try:
        digest = Hash.parse(output.hash, output.hash_algorithm.removeprefix(_RECURSIVE))
    except FormatError as error:
        raise FormatError(f"the output hash of {derivation.path}: {error.message}") from error
    return digest, recursive


def _fixed_meaning(derivation: Derivation, output: Output) -> str:
    digest, recursive = _fixed_hash(derivation, output)
    method = f"{_RECURSIVE * recursive}{digest.algorithm}"
    return Hash.of(f"fixed:out:{method}:{digest.base16}:{output.path}".encode()).base16
