"""Flakes' lock files: which inputs one locks to what, and what another one changes.

A lock file is a graph: nodes by name, each with the inputs that it refers to by name. An input may
follow another one, and is then a path of names instead: it is that one's, and not told twice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SHORT: Final = 11
"""As many characters of a revision as Nix shows itself."""
_MOST_INPUTS: Final = 10_000
"""More than any flake has. Inputs of inputs are told along every way to them, of which there can be
exponentially many."""
_END_OF_TIME: Final = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())


@dataclass(frozen=True, slots=True, kw_only=True)
class InputChange:
    """An input that is locked to something else now; None where it was, or is, not there.

    ``name`` is its path, such as ``home-manager/nixpkgs``.
    """

    name: str
    old: str | None
    new: str | None

    def __str__(self) -> str:
        if self.old is None:
            return f"{self.name} is new: {self.new}"
        if self.new is None:
            return f"{self.name} is gone: {self.old}"
        return f"{self.name}: {self.old} → {self.new}"


def input_changes(before: bytes | None, after: bytes | None) -> tuple[InputChange, ...]:
    """What two lock files (None: there is none) lock differently, by name.

    Raises:
        ValueError: one is no lock file.

    """
    old, new = _locked(before), _locked(after)
    return tuple(
        InputChange(name=name, old=_shown(old.get(name)), new=_shown(new.get(name)))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def _locked(data: bytes | None) -> dict[str, Mapping[str, Any]]:
    """What each input is locked to, by its path."""
    if data is None:
        return {}
    try:
        lock = json.loads(data)
        return dict(_inputs(lock["nodes"], lock["root"]))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a lock file: {error!r}") from error


def _inputs(nodes: Mapping[str, Any], root: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    found = 0
    pending: list[tuple[tuple[str, ...], str]] = [((), root)]
    while pending:
        path, node = pending.pop()
        for name, target in nodes[node].get("inputs", {}).items():
            if not isinstance(target, str):
                continue  # it follows another
            found += 1
            inner = (*path, name)
            if found > _MOST_INPUTS or len(inner) > len(nodes):
                raise ValueError("not a lock file: its inputs never end")
            if "locked" in nodes[target]:
                locked = nodes[target]["locked"]
                if not isinstance(locked, dict):
                    raise TypeError(f"locked to {locked!r}")
                yield "/".join(inner), locked
            pending.append((inner, target))


def _shown(locked: Mapping[str, Any] | None) -> str | None:
    """``8b4a0017b6c (2026-11-24)``."""
    if locked is None:
        return None
    what = str(locked.get("rev", ""))[:_SHORT] or str(locked.get("narHash") or "unlocked")
    modified = locked.get("lastModified")
    if not isinstance(modified, int) or not 0 < modified < _END_OF_TIME:
        return what
    return f"{what} ({datetime.fromtimestamp(modified, UTC):%Y-%m-%d})"
