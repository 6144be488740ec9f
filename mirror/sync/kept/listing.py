"""Which targets are still on a list: what is kept for other targets may have to be removed.

Several lists may feed one destination, each in runs of its own. So a run record names the lists
that have asked for its target. Only a run of a list that had the target, and no longer has it,
removes that list from the record. The age of a target that is on no list is not reported.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mirror.destinations import Destination, RunRecord
    from mirror.errors import DestinationError
    from mirror.planning.lists.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlisted:
    """The targets that are on no list any more, ``newly`` those that left one in this run.

    ``removal`` is the command that removes them; None without any.
    """

    names: tuple[str, ...] = ()
    newly: tuple[str, ...] = ()
    removal: str | None = None


async def unlisted(destination: Destination, newly: tuple[str, ...]) -> Unlisted:
    """Find what is on no list any more; ``newly`` was found to have left one just now.

    Raises:
        DestinationError: the destination cannot be read.

    """
    unreadable: list[DestinationError] = []  # told by whoever looks at what is kept
    records = await destination.run_records(unreadable.append)
    return Unlisted(
        names=tuple(each.target for each in records if not each.is_listed),
        newly=newly,
        removal=removal(records, destination.name),
    )


async def mark_unlisted(
    targets: Sequence[Target], lists: Iterable[str], destination: Destination
) -> tuple[str, ...]:
    """Record which targets left these lists, of which ``targets`` are all; the names of those.

    ``lists`` are the absolute names of the lists that were read and have one, each of them whole.
    A target that another list has, too, is not named.

    Raises:
        DestinationError: a record cannot be written.

    """
    on_list = {(target.list_file, target.name) for target in targets}
    unreadable: list[DestinationError] = []  # the run tells of it
    names = []
    for record in await destination.run_records(unreadable.append):
        left = [
            each
            for each in lists
            if each in (record.lists or ()) and (each, record.target) not in on_list
        ]
        if not left:
            continue
        staying = tuple(each for each in record.lists or () if each not in left)
        marked = replace(record, lists=staying, last_list=None if staying else left[0])
        await destination.record_run(marked)
        if not staying:
            names.append(record.target)
    return tuple(names)


def with_list(lists: tuple[str, ...] | None, list_file: str | None) -> tuple[str, ...] | None:
    """The lists of a target that a run of ``list_file`` has asked for.

    None is a list that has no name, and as a result that the lists are not known.
    """
    if list_file is None:
        return lists or None
    return tuple(sorted({*(lists or ()), list_file}))


def removal(records: Iterable[RunRecord], destination: str) -> str | None:
    """The command that removes what is on no list any more; None if all is on one.

    It names all lists that feed the destination, since what is on none of those it names goes.
    Where they are not all known, they are left to its user.
    """
    records = list(records)
    if all(each.is_listed for each in records):
        return None
    known = {each for record in records for each in record.lists or ()}
    known |= {each.last_list for each in records if each.last_list is not None}
    to = shlex.join(["--removed", "--to", destination])
    if any(record.lists is None for record in records):
        return (
            f"prefetch prune LIST… {to} (with every list that feeds it; what was synced without "
            "a list goes, too)"
        )
    return f"{shlex.join(['prefetch', 'prune', *sorted(known)])} {to}"
