"""Reading the derivations of a store from its files.

The ``.drv`` files say all, in a format that every version of Nix shares; the JSON that Nix prints
of them has changed its shape five times.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from mirror.errors import EvaluationError
from mirror.formats.derivation_files import DerivationFiles
from mirror.system.allocation import without_collections

if TYPE_CHECKING:
    from collections.abc import Collection

    from mirror.formats.derivation import Derivation
    from mirror.formats.store_path import StorePath
    from mirror.nix.stores import StoreLocation

# Most files are smaller: one call reads each of them whole.
_AT_ONCE: Final = 1 << 14


def read_closure(store: StoreLocation, roots: Collection[StorePath]) -> dict[StorePath, Derivation]:
    """Read ``roots`` and every derivation they need, nearest first. Blocks: call it in a thread.

    Raises:
        EvaluationError: a file is missing or cannot be read; it says what needs it.
        FormatError: a file is not a derivation; or its environment is not as Nix writes it, which
            is said when that is looked into.

    """
    read = DerivationFiles().read
    root = str(store.root).rstrip("/")
    closure: dict[StorePath, Derivation] = {}
    needed_by: dict[StorePath, StorePath | None] = dict.fromkeys(roots)
    order = list(needed_by)
    with without_collections():
        for path in order:
            try:
                data = _content(f"{root}{path}")
            except OSError as error:
                why = "" if needed_by[path] is None else f", which {needed_by[path]} needs,"
                raise EvaluationError(
                    f"the derivation {path}{why} cannot be read in the store {store.url}: "
                    f"{error.strerror}",
                    hint="it may have been garbage collected meanwhile: evaluate again; if it is "
                    "still missing, `nix-store --verify --repair` restores it",
                ) from error
            derivation = closure[path] = read(path, data)
            for input_path in derivation.input_derivations:
                if input_path not in needed_by:
                    needed_by[input_path] = path
                    order.append(input_path)
    return closure


def _content(file: str) -> bytes:
    """A whole file. To open it with ``open`` would take as long again."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, _AT_ONCE)
        if len(data) == _AT_ONCE or not data.endswith(b")"):
            while more := os.read(descriptor, _AT_ONCE):
                data += more
        return data
    finally:
        os.close(descriptor)
