"""Reading the derivations of a store from its files.

The ``.drv`` files say all, in a format that every version of Nix shares; the JSON that Nix prints
of them has changed its shape five times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.errors import EvaluationError
from mirror.formats.aterm import parse_derivation

if TYPE_CHECKING:
    from collections.abc import Collection

    from mirror.formats.derivation import Derivation
    from mirror.formats.store_path import StorePath
    from mirror.nix.stores import StoreLocation


def read_closure(store: StoreLocation, roots: Collection[StorePath]) -> dict[StorePath, Derivation]:
    """Read ``roots`` and every derivation they need, nearest first. Blocks: call it in a thread.

    Raises:
        EvaluationError: a file is missing or cannot be read; it says what needs it.
        FormatError: a file is not a derivation.

    """
    closure: dict[StorePath, Derivation] = {}
    needed_by: dict[StorePath, StorePath | None] = dict.fromkeys(roots)
    level = list(needed_by)
    while level:
        following: list[StorePath] = []
        for path in level:
            derivation = closure[path] = _read(store, path, needed_by[path])
            for input_path in derivation.input_derivations:
                if input_path not in needed_by:
                    needed_by[input_path] = path
                    following.append(input_path)
        level = following
    return closure


def _read(store: StoreLocation, path: StorePath, needed_by: StorePath | None) -> Derivation:
    try:
        data = store.real(path).read_bytes()
    except OSError as error:
        why = "" if needed_by is None else f", which {needed_by} needs,"
        raise EvaluationError(
            f"the derivation {path}{why} cannot be read in the store {store.url}: {error.strerror}",
            hint="it may have been garbage collected while it was used; evaluate again",
        ) from error
    return parse_derivation(path, data)
