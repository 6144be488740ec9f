"""Derivations: the ATerm files that Nix evaluates to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mirror.formats.store_path import StorePath


@dataclass(frozen=True, slots=True)
class Output:
    """One output field as the ATerm has it: ``("out", path, hash_algorithm, hash)``.

    ``path`` is None where it is known only after the build (floating, impure, deferred);
    ``hash_algorithm`` is ``""``, ``sha256``, ``r:sha256``, …; ``hash`` is base16, ``""`` or
    ``impure``. A fixed output has both.
    """

    path: StorePath | None
    hash_algorithm: str = ""
    hash: str = ""

    @property
    def is_fixed(self) -> bool:
        """Whether its content is known beforehand."""
        return self.path is not None and self.hash_algorithm != ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """A derivation, with its fields in the order and the bytes of its file.

    Strings that are not UTF-8 are kept with ``surrogateescape``. ``input_derivations`` maps each
    to the names of the outputs that are wanted of it.
    """

    path: StorePath
    outputs: Mapping[str, Output]
    input_derivations: Mapping[StorePath, tuple[str, ...]]
    input_sources: tuple[StorePath, ...]
    system: str
    builder: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    version: str | None = None
    """The argument of ``DrvWithVersion``, None for the usual ``Derive``."""

    @property
    def is_fixed(self) -> bool:
        """Whether it is a fixed-output derivation: a fetch, whose result is known beforehand."""
        for output in self.outputs.values():
            if output.hash_algorithm and output.path is not None:
                return True
        return False

    def output_paths(self, names: Iterable[str] | None = None) -> list[StorePath]:
        """The paths of the named outputs (None: of all), without those known only when built.

        A name that it does not have gives nothing.
        """
        outputs = self.outputs
        wanted = outputs if names is None else names
        return [
            path for name in wanted if name in outputs and (path := outputs[name].path) is not None
        ]
