"""What the commands say to a person: tables and sentences, as lines of text.

Everything here takes values and returns lines; who prints them where is the commands' business.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from mirror.planning.refusals import failing, paths, summary
from mirror.planning.sharing import exposed_lines
from mirror.quantities import moment, number, size
from mirror.sync.kept.listing import removal as removal_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mirror.destinations import Generation, RunRecord
    from mirror.formats.store_path import StorePath
    from mirror.planning.lists.targets import Target
    from mirror.planning.plan import Plan, TargetPlan
    from mirror.planning.readiness import Missing
    from mirror.planning.refusals import Refusal
    from mirror.sync.kept.freshness import Rehearsal
    from mirror.sync.offline.check import Checked
    from mirror.sync.offline.rehearse import Rehearsed
    from mirror.sync.offline.why import Reason
    from mirror.sync.report import Outcome
    from mirror.sync.run import Synced
    from mirror.sync.space import Need

_LARGEST: Final = 5
_SHOWN: Final = 8


def table(rows: Iterable[Sequence[str]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """Rows in columns, those in ``right`` aligned to the right."""
    rows = list(rows)
    widths = (
        [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    )
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def plan_lines(plan: Plan, need: Need) -> Iterator[str]:
    """The plan as a person reads it: targets, what comes from where, what is needed and largest."""
    if not plan.targets:
        return  # none could be evaluated: the errors say so
    for each in plan.targets:
        yield f"{each.target.name}: {each.target.installable_text}, level {each.level.word}"
        if each.root != each.target.installable_text:
            yield f"  {each.root}"
        for notice in each.notices:
            yield f"  note: {notice}"
        yield from (f"  {line}" for line in edit_lines(each))
    yield ""
    yield from _where_from(plan)
    if need.paths:
        yield need.text("this")
    largest = sorted(plan.substitute, key=lambda each: -(each.offer.nar_bytes or 0))[:_LARGEST]
    if largest:
        yield ""
        yield "largest:"
        yield from table(
            [("  " + size(each.offer.nar_bytes or 0), each.path.name) for each in largest],
            right=frozenset({0}),
        )
    yield from _without_sources(plan)


def _without_sources(plan: Plan) -> Iterator[str]:
    """What no cache gives: what is built instead, what was refused, what cannot be had."""
    if plan.build:
        yield ""
        built = number(len(plan.build), "derivation")
        edits = ", with all edits" if any(each.edits for each in plan.targets) else ""
        yield f"would be built on the machine itself: {built}{edits}"
        yield from _shown([path.name.removesuffix(".drv") for path in plan.build])
    if plan.refused:
        yield ""
        yield from refused_lines(plan)
    if plan.unobtainable:
        yield ""
        yield f"cannot be had: {number(len(plan.unobtainable), 'path')}"
        for missing in plan.unobtainable:
            yield f"  {missing.path}"
            if missing.derivation:
                yield f"    made by {missing.derivation}"
            yield f"    {missing.reason}"


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
            "build would come from a cache otherwise"
        )
    if can_be_allowed and failing(found):
        yield "  --allow-refused goes on without what is refused"


def edit_lines(plan: TargetPlan) -> Iterator[str]:
    """What each edit comes to."""
    for edit in plan.edits:
        if edit.root is not None:
            yield f"{edit.name} adds {number(edit.paths, 'path')}, {size(edit.nar_bytes)}"
        elif not edit.is_applicable:
            yield f"{edit.name} does not apply: {edit.problem}"


def _where_from(plan: Plan) -> Iterator[str]:
    sources: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for each in plan.substitute:
        row = sources[each.offer.source]
        row[0] += 1
        row[1] += each.offer.download_bytes or 0
        row[2] += each.offer.nar_bytes or 0
    rows = [("from", "paths", "download", "unpacked")]
    rows += [
        (source, f"{paths:,}", size(download), size(unpacked))
        for source, (paths, download, unpacked) in sorted(sources.items())
    ]
    methods: defaultdict[str, int] = defaultdict(int)
    for fixed in plan.fetch:
        methods[fixed.origin.method] += 1
    rows += [
        (f"origins ({method})", f"{count:,}", "?", "?") for method, count in sorted(methods.items())
    ]
    if plan.copy:
        rows.append(("this machine (evaluation)", f"{len(plan.copy):,}", "-", "-"))
    if len(rows) > 1:
        yield from table(rows, right=frozenset({1, 2, 3}))
    if plan.incomplete:
        lacking = number(len(plan.incomplete), "path")
        yield f"kept, but lacking something that they refer to: {lacking}"
    there = number(len(plan.present), "path")
    if plan.missing == 0:
        yield f"nothing to fetch: all {there} are there"
    elif plan.present:
        yield f"already there: {there}"


def _shown(names: Sequence[str]) -> Iterator[str]:
    yield from (f"  {name}" for name in names[:_SHOWN])
    if len(names) > _SHOWN:
        yield f"  and {len(names) - _SHOWN:,} more (--json lists all)"


def retried_lines(outcome: Outcome) -> Iterator[str]:
    """Which sources failed before one gave the path; that some merely lack it is no news."""
    failed = [each for each in outcome.attempts if not each.is_absence]
    if outcome.result == "stored" and failed:
        yield f"{outcome.path.name}: taken from {outcome.source}, after"
        yield from (f"  {attempt}" for attempt in failed)


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


def generation_lines(
    generations: Sequence[Generation],
    destination: str,
    known: Mapping[tuple[str, int], Rehearsal],
    runs: Sequence[RunRecord],
) -> Iterator[str]:
    """``roots``: what is kept, for which target, since when, how big; what failed last time."""
    if generations:
        yield from _generation_table(generations, known, runs)
    else:
        yield f"{destination} keeps nothing yet: `prefetch sync LIST` makes the first generation"
    removal = removal_command(runs, destination)
    for run in runs:
        if not run.is_listed:
            yield f"{run.target}: on no list any more, last on {run.last_list}"
            yield f"  to remove what is kept of it: {removal}"
            continue
        if run.problems:
            yield f"{run.target}: the last run, {moment(run.finished)}, had problems"
            yield from (f"  {problem}" for problem in run.problems)
        for line, hint in summary(each for each in run.refused if each.allowed):
            yield f"{run.target}: {line}; {hint}"
        if run.only_copies:
            yield f"{run.target}: you hold the only copy of {number(len(run.only_copies), 'path')}"
            yield from (f"  {path}" for path in run.only_copies)


def _generation_table(
    generations: Sequence[Generation],
    known: Mapping[tuple[str, int], Rehearsal],
    runs: Iterable[RunRecord],
) -> list[str]:
    refreshed = {(run.target, run.number): moment(run.finished) for run in runs if run.is_complete}
    rows = [("target", "generation", "since", "refreshed", "level", "paths", "size", "", "")]
    rows += [
        (
            each.target,
            str(each.number),
            moment(each.created),
            refreshed.get((each.target, each.number), ""),
            each.level,
            f"{len(each.paths):,}",
            size(each.nar_bytes),
            kept_state(each),
            rehearsal_state(known.get((each.target, each.number))),
        )
        for each in generations
    ]
    return table(rows, right=frozenset({1, 5, 6}))


def kept_state(generation: Generation) -> str:
    """What keeps a generation from being whole: ``incomplete: 3 paths missing, 2 refused``."""
    refused = paths(generation.refused)
    if generation.missing:
        missing = number(len(generation.missing), "path")
        return f"incomplete: {missing} missing" + (f", {refused:,} refused" if refused else "")
    return f"{number(refused, 'path')} refused, as allowed" if refused else ""


def synced_lines(synced: Synced, destination: str) -> Iterator[str]:
    """What a sync ended with: one line a generation, one line if nothing was new."""
    plans = {each.target.name: each for each in synced.plan.targets}
    for each in synced.kept:
        state = kept_state(each) or "complete"
        yield (
            f"{each.target}: generation {each.number} kept at {destination}, "
            f"{number(len(each.paths), 'path')}, {size(each.nar_bytes)}, {state}"
        )
        if each.target in plans:
            yield from (f"  {line}" for line in edit_lines(plans[each.target]))
            yield from (f"  {line}" for line in exposed_lines(plans[each.target].exposed))
    if synced.unchanged:
        names = ", ".join(f"{each.target} ({each.number})" for each in synced.unchanged)
        state = ", still incomplete" if any(each.missing for each in synced.unchanged) else ""
        yield f"nothing new at {destination}: {names}{state}"
    if synced.unlisted.removal is not None:
        yield f"on no list any more: {', '.join(synced.unlisted.names)}"
        yield f"  to remove what is kept of it: {synced.unlisted.removal}"
    for path, reason in synced.only_copies.items():
        yield f"you hold the only copy of {path}"
        yield f"  {reason}"


def checked_lines(checked: Iterable[Checked], mending: str | None) -> Iterator[str]:
    """``check``: ready or not; for what is missing, who needs it and what it would cost.

    ``mending`` is the command that brings it; None where no command does.
    """
    is_ready = True
    for each in checked:
        name = with_edit(each.target, each.edit)
        if not each.is_applicable and each.problem is not None:
            yield f"{name}: does not apply, {each.problem.message}"
        elif each.problem is not None:
            yield f"{name}: not ready, it cannot be evaluated offline"
            yield from (f"  {line}" for line in each.problem.message.splitlines())
            if each.problem.hint:
                yield f"  {each.problem.hint}"
        elif each.readiness is not None and each.readiness.is_ready:
            build = len(each.readiness.build)
            yield f"{name}: ready, {number(build, 'derivation')} to build{_because(each)}"
        elif each.readiness is not None:
            missing = each.readiness.missing
            yield f"{name}: not ready, {number(len(missing), 'cause')}"
            yield from _missing_lines(missing)
        is_ready = is_ready and each.is_ready
    if not is_ready and mending is not None:
        yield f"with a network, this brings what is missing: {mending}"


def _because(checked: Checked) -> str:
    """How many would be built for want of what the last sync refused, and what that was."""
    if not checked.built_for_refusals:
        return ""
    lines = "; ".join(f"{line}; {hint}" for line, hint in summary(checked.refused))
    return f", {len(checked.built_for_refusals):,} of them because of what was {lines}"


def _missing_lines(missing: Sequence[Missing]) -> Iterator[str]:
    """The causes, the one first whose absence costs most."""
    ordered = sorted(missing, key=lambda each: -each.cascade)
    for each in ordered[:_SHOWN]:
        for path in each.paths:
            yield f"  {path}" + (f" ({each.names[path]})" if path in each.names else "")
            if path in each.problems:
                yield f"    {each.problems[path]}"
            if path in each.referrers:
                yield f"    {each.referrers[path]} refers to it"
        needed = " > ".join(path.name.removesuffix(".drv") for path in each.chain)
        yield f"    needed by {needed}" if needed else "    it is the target itself"
        if each.cascade > 1:
            yield (
                f"    without it Nix would build {number(each.cascade, 'derivation')}, "
                "and could not fetch their sources"
            )
    if len(ordered) > _SHOWN:
        yield f"  and {len(ordered) - _SHOWN:,} more (--json lists all)"


def why_lines(target: Target, reason: Reason, destination: str) -> Iterator[str]:
    """``why``: one line a step of each way, then who asked for what it leads to, and its size."""
    for way in reason.ways:
        yield with_edit(target, way.edit)
        for depth, step in enumerate(way.steps, start=1):
            yield f"{'  ' * depth}{step.relation} {step.path}"
    if reason.asked_by:
        yield f"asked for by {', '.join(reason.asked_by)}"
    else:
        yield f"part of its build graph, but nothing asks for it at level {target.level.word}"
    if reason.nar_bytes is None or reason.closure_bytes is None:
        yield f"not at {destination}"
    else:
        yield f"{size(reason.nar_bytes)}, {size(reason.closure_bytes)} with all that it refers to"


def rehearsal_state(rehearsal: Rehearsal | None) -> str:
    """What ``roots`` says of a generation's rehearsal."""
    if rehearsal is None:
        return ""
    if rehearsal.state == "rehearsed":
        return f"rehearsed {moment(rehearsal.receipt.created)}"
    return f"rehearsal {rehearsal.state}"


def with_edit(target: Target, edit: str | None) -> str:
    """What a target with an edit is called: ``laptop with dnsmasq``."""
    return target.name + (f" with {edit}" if edit else "")


def rehearsal_lines(rehearsed: Iterable[Rehearsed]) -> Iterator[str]:
    """``rehearse``: one line for a target and for each edit."""
    for each in rehearsed:
        name = with_edit(each.target, each.edit)
        if each.problem is None:
            built = number(each.built, "derivation")
            yield f"{name}: rehearsed, builds without a network ({built} built)"
        elif not each.is_possible:
            yield f"{name}: cannot be rehearsed here"
        elif each.is_applicable:
            yield f"{name}: rehearsal failed"
        else:
            yield f"{name}: does not apply, {each.problem.message}"
