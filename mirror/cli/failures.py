"""Missing paths, refusals and failed targets, as lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.cli.running import explain
from mirror.planning.refusals import failing, summary
from mirror.quantities import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mirror.errors import PrefetchError
    from mirror.formats.store_path import StorePath
    from mirror.planning.lists.targets import Target
    from mirror.planning.plan import Plan
    from mirror.planning.refusals import Refusal
    from mirror.sync.report import Outcome


def failure_lines(outcomes: Iterable[Outcome], plan: Plan) -> Iterator[str]:
    """Every path that is not there, with each source that was tried and why it failed."""
    outcomes = tuple(outcomes)
    there = {each.path for each in outcomes if each.result != "failed"}
    makers = {each.path: each.derivation for each in plan.fetch}
    for outcome in outcomes:
        if outcome.result == "failed":
            yield f"not obtained: {outcome.path}"
            yield from _derivation_line(makers.get(outcome.path))
            for attempt in outcome.attempts:
                yield f"  {attempt}"
    for missing in plan.unobtainable:
        if missing.path in there:
            continue  # It was built.
        yield f"not obtained: {missing.path}"
        yield from _derivation_line(missing.derivation)
        yield f"  {missing.reason}"


def _derivation_line(derivation: StorePath | None) -> Iterator[str]:
    if derivation is not None:
        yield f"  made by {derivation}"


def refused_lines(
    plan: Plan, refused: Iterable[Refusal] | None = None, *, can_be_allowed: bool = True
) -> Iterator[str]:
    """What caches have and is not believed, what to do about it, and what is built instead.

    ``can_be_allowed``: the command has an option to go on all the same.
    """
    found = plan.refused if refused is None else tuple(refused)
    for line, hint in summary(found):
        yield line
        yield f"  {hint}"
    if plan.built_for_refusals and found:
        yield (
            f"{len(plan.built_for_refusals):,} of the {number(len(plan.build), 'derivation')} to "
            "build would otherwise come from a cache"
        )
    if can_be_allowed and failing(found):
        yield "  --allow-refused continues without what is refused"


def retried_lines(outcome: Outcome) -> Iterator[str]:
    """Which sources failed before one gave the path; that some merely lack it is no news."""
    failed = [each for each in outcome.attempts if not each.is_absence]
    if outcome.result == "stored" and failed:
        yield f"{outcome.path.name}: taken from {outcome.source}, after"
        yield from (f"  {attempt}" for attempt in failed)


def explain_failures(failures: Sequence[tuple[Target, PrefetchError]]) -> None:
    """Say on standard error what each target failed of."""
    for target, error in failures:
        explain(error, about=None if target.name in error.message else target.name)
