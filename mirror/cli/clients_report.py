"""What ``sync`` and ``roots`` say of the clients of what is kept: text, and as JSON."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mirror.planning.vouching import Vouching


def refused_by_clients_lines(vouching: Mapping[str, Vouching], destination: str) -> Iterator[str]:
    """One line a target of which clients would refuse something; then what mends it."""
    problems = {target: problem for target, each in vouching.items() if (problem := each.problem)}
    for target, problem in problems.items():
        yield f"{target}: {problem}"
    if any(vouching[target].is_recorded for target in problems):
        yield (
            f"  sign what is here: prefetch sign --to {shlex.quote(destination)} --signing-key "
            "FILE; or sync with --signing-key FILE"
        )


def clients_document(vouching: Mapping[str, Vouching]) -> list[dict[str, Any]]:
    """Of each target, the keys that a client lacks, and the paths that it would refuse."""
    return [
        {
            "target": target,
            "keys": [str(key) for key in each.client_keys()],
            "refused": sorted(each.refused),
        }
        for target, each in vouching.items()
    ]
