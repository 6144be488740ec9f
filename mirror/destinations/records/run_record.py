"""Run records: the result of the last sync of a target, as JSON beside its generations.

The members are those of :class:`RunRecord`, ``finished`` in ISO 8601. A target has one, that of the
last run which had it on a list and came to an end, whatever end: a run that was interrupted leaves
the earlier one. So a status page, and whoever watches over a cron job, can tell how old is what is
kept, and what keeps it from being newer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

from mirror.destinations.records.documents import (
    Documents,
    Kind,
    count,
    moment,
    name,
    refused,
    text,
)
from mirror.formats.store_path import StorePath
from mirror.planning.changes import Change, Since
from mirror.planning.changes import as_members as since_as_members
from mirror.planning.refusals import as_members

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    from mirror.planning.refusals import Refusal

PROBLEMS_KEPT: Final = 20
"""How many problems a record has at most; the last of them then says how many more there were."""

CHANGES_KEPT: Final = 40
"""How many changed packages a record has at most; `prefetch diff` has them all."""

State = Literal["new", "unchanged", "failed"]
"""What a run came to for a target: a new generation, the one of before, or not all is there."""

_LONGEST_PROBLEM: Final = 500
_LEFT_OUT: Final = " … "
_NOT_PRINTED: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""What a builder may print, and a page or terminal should not be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """The result of a sync of a target.

    ``finished`` is in UTC. ``number`` is the target's newest generation at its end, None if there
    is none; ``is_complete``: that generation has all that the target wanted in this run.
    ``problems`` are a line each: the error, or a path with why it was not had. ``only_copies``
    (sorted) are paths of it that nobody upstream has any more, as far as was asked. ``refused`` is
    what caches have of it, is not believed and was had from nobody else, allowed or not.

    ``lists`` (sorted) are the lists that have the target, by their absolute names: as far as each
    one's own last run says. None is not known, as of before there was this member. Where none is
    left, ``last_list`` is the one that had it last.

    ``duration_seconds`` is how long the run took and ``received_bytes`` what it received from a
    network, both for all of its targets together. None is not known, as of before there were these
    members; so is a ``state`` of None. ``left_out`` is what the target's budget had no room for.
    ``changed`` is how its newest generation differs from the one before, also if an earlier run
    made it; None if there is none before.
    """

    target: str
    finished: datetime
    number: int | None
    is_complete: bool
    problems: tuple[str, ...] = ()
    only_copies: tuple[StorePath, ...] = ()
    refused: tuple[Refusal, ...] = ()
    lists: tuple[str, ...] | None = None
    last_list: str | None = None
    duration_seconds: int | None = None
    received_bytes: int | None = None
    state: State | None = None
    left_out: tuple[str, ...] = ()
    changed: Since | None = None

    @property
    def is_listed(self) -> bool:
        """Whether the target is on a list still, as far as is known."""
        return self.lists != ()


def as_problems(texts: Iterable[str]) -> tuple[str, ...]:
    """Problems as a record has them: a line each, of limited length and number."""
    lines = [_shortened(" ".join(_NOT_PRINTED.sub(" ", text).split())) for text in texts]
    if len(lines) <= PROBLEMS_KEPT:
        return tuple(lines)
    kept = lines[: PROBLEMS_KEPT - 1]
    return (*kept, f"and {len(lines) - len(kept):,} more")


def run_records_in(directory: Path) -> Documents[RunRecord]:
    """Give the run records of a directory, one a target."""
    return Documents(directory=directory, kind=RUN_RECORD, hint="remove the file, and sync again")


def _shortened(line: str) -> str:
    """Leave out the middle: the subject comes first, and Nix's error last."""
    if len(line) <= _LONGEST_PROBLEM:
        return line
    half = (_LONGEST_PROBLEM - len(_LEFT_OUT)) // 2
    return f"{line[:half]}{_LEFT_OUT}{line[-half:]}"


def _members(record: RunRecord) -> dict[str, Any]:
    return {
        "target": record.target,
        "finished": record.finished.isoformat(timespec="seconds"),
        "number": record.number,
        "is_complete": record.is_complete,
        "problems": record.problems,
        "only_copies": record.only_copies,
        **({} if record.lists is None else {"lists": record.lists}),
        **({} if record.last_list is None else {"last_list": record.last_list}),
        **_known("duration_seconds", record.duration_seconds),
        **_known("received_bytes", record.received_bytes),
        **({} if record.state is None else {"state": record.state}),
        **({"left_out": record.left_out} if record.left_out else {}),
        **({} if record.changed is None else {"changed": since_as_members(record.changed)}),
        # Documents of before there were refusals are rendered as they were written.
        **({"refused": as_members(record.refused)} if record.refused else {}),
    }


def _record(document: Mapping[str, Any]) -> RunRecord:
    lists, last_list = document.get("lists"), document.get("last_list")
    return RunRecord(
        target=name(document["target"]),
        finished=moment(document["finished"]),
        number=_count(document["number"]),
        is_complete=bool(document["is_complete"]),
        problems=tuple(text(problem) for problem in document["problems"]),
        only_copies=tuple(StorePath.parse(path) for path in document["only_copies"]),
        lists=None if lists is None else tuple(name(each) for each in lists),
        last_list=None if last_list is None else name(last_list),
        refused=refused(document),
        duration_seconds=_count(document.get("duration_seconds")),
        received_bytes=_count(document.get("received_bytes")),
        state=_state(document.get("state")),
        left_out=tuple(name(each) for each in document.get("left_out", ())),
        changed=_since(document.get("changed")),
    )


def _state(value: object) -> State | None:
    if value is not None and value not in get_args(State):
        raise ValueError(f"not what a run can come to: {value!r}")
    return cast("State | None", value)


def _since(document: Mapping[str, Any] | None) -> Since | None:
    if document is None:
        return None
    return Since(
        number=count(document["since"]),
        packages=tuple(
            Change(
                name=text(each["name"]),
                before=tuple(text(version) for version in each["before"]),
                after=tuple(text(version) for version in each["after"]),
            )
            for each in document["packages"]
        ),
        rebuilt=count(document["rebuilt"]),
        more=count(document["more"]),
    )


def _known(member: str, value: int | None) -> dict[str, int]:
    """A member, or none: documents of before there was it are rendered as they were written."""
    return {} if value is None else {member: value}


def _count(value: object) -> int | None:
    return None if value is None else count(value)


RUN_RECORD: Final = Kind(noun="run record", members=_members, value=_record)
