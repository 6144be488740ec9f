"""``prefetch plan``: what would be fetched, from where and how large it is."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from mirror.cli.failures import explain_failures, refused_lines
from mirror.cli.members import plan_members
from mirror.cli.options import (
    AllowRefused,
    Edits,
    EvaluatorMemory,
    Evaluators,
    Json,
    Level,
    Lists,
    NoArchives,
    NoBuilder,
    Only,
    ReEvaluate,
    Store,
    Substituters,
    To,
    TrustedKeys,
    given,
)
from mirror.cli.progress import Noting, observer
from mirror.cli.request import Request, read_targets
from mirror.cli.running import print_document, run, write_lines
from mirror.cli.text import SHOWN, edit_lines, shown, table, together
from mirror.destinations.registry import open_destination
from mirror.planning.plan import AS_CHOSEN
from mirror.planning.refusals import failing
from mirror.quantities import number, size
from mirror.sync.run import plan as make_plan
from mirror.sync.workshop import open_installed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.planning.plan import Plan, TargetPlan
    from mirror.sync.space import Need

_ONE_ROW: Final = 2
"""A table with its head and one row, which needs no total."""
_LARGEST: Final = 5


def command(
    lists: Lists,
    *,
    only: Only = None,
    edits: Edits = None,
    to: To = None,
    level: Level = None,
    store: Store = None,
    substituter: Substituters = None,
    trusted_key: TrustedKeys = None,
    no_builder: NoBuilder = False,
    no_archives: NoArchives = False,
    allow_refused: AllowRefused = False,
    re_evaluate: ReEvaluate = False,
    evaluators: Evaluators = None,
    evaluator_memory: EvaluatorMemory = None,
    json: Json = False,
) -> None:
    """Show what would be fetched, from where and how large it is.

    Nothing is written to the destination. The plan lists how much comes from which cache or
    origin, how much room is needed, what the machine would have to build itself, and what nobody
    has.
    """
    request = Request(
        lists=tuple(lists),
        only=given(only),
        edits=edits,
        to=to,
        level=level,
        store=store,
        substituters=given(substituter),
        trusted_keys=given(trusted_key),
        builder=not no_builder,
        archives=not no_archives,
        allow_refused=allow_refused,
        re_evaluate=re_evaluate,
        evaluators=evaluators,
        evaluator_memory=evaluator_memory,
    )
    run(execute(request, json=json), json=json)


async def execute(request: Request, *, json: bool) -> int:
    """Plan, and show the plan; 1 if it is not whole."""
    targets = await read_targets(request)
    options = request.workshop_options()
    noting = Noting(observer())
    async with (
        open_destination(request.to, exclusive=False, reads_contents=True) as destination,
        open_installed(options, noting) as workshop,
    ):
        planned = await make_plan(targets, workshop, destination, noting)
    if json:
        members = plan_members(planned.plan, planned.failures, noting, destination.name)
        print_document("plan", {**members, "room": _room(planned.need)})
    else:
        write_lines(lines(planned.plan, planned.need))
    explain_failures(planned.failures)
    plan = planned.plan
    return 1 if planned.failures or plan.unobtainable or failing(plan.refused) else 0


def lines(plan: Plan, need: Need) -> Iterator[str]:
    """The plan as a person reads it: targets, what comes from where, what is needed and largest."""
    if not plan.targets:
        return  # none could be evaluated: the errors say so
    about = _in_full if len(plan.targets) <= SHOWN else _in_short
    yield from together((each.target.name, list(about(each))) for each in plan.targets)
    yield ""
    yield from _where_from(plan)
    if need.paths:
        yield need.text("this")
        if plan.nar_bytes and need.bytes != plan.nar_bytes:
            yield "  (unpacked: in a Nix store; a cache directory keeps what is downloaded)"
    largest = sorted(plan.substitute, key=lambda each: -(each.offer.nar_bytes or 0))[:_LARGEST]
    if largest:
        yield ""
        yield "largest:"
        yield from table(
            [("  " + size(each.offer.nar_bytes or 0), each.path.name) for each in largest],
            right=frozenset({0}),
        )
    yield from _without_sources(plan)


def _in_full(plan: TargetPlan) -> Iterator[str]:
    """What is planned for a target."""
    yield f"{plan.target.installable_text}, level {plan.level.word}"
    if plan.root != plan.target.installable_text:
        yield f"  {plan.root}"
    for notice in plan.notices:
        yield f"  note: {notice}"
    yield from (f"  {line}" for line in edit_lines(plan))


def _in_short(plan: TargetPlan) -> Iterator[str]:
    """The same where there are many: what is as it is for each target is left to ``--json``."""
    yield f"level {plan.level.word}"
    for notice in plan.notices:
        if not notice.startswith(AS_CHOSEN):
            yield f"  note: {notice}"
    yield from (f"  {line}" for line in edit_lines(plan, unless_free=True))


def _without_sources(plan: Plan) -> Iterator[str]:
    """What no cache gives: what is built instead, what was refused, what cannot be had."""
    if plan.build:
        yield ""
        built = number(len(plan.build), "derivation")
        edits = ", with all edits" if any(each.edits for each in plan.targets) else ""
        yield f"would be built on the machine itself: {built}{edits}"
        yield from shown([path.name.removesuffix(".drv") for path in plan.build])
    if plan.refused:
        yield ""
        yield from refused_lines(plan)
    if plan.unobtainable:
        yield ""
        yield f"not available anywhere: {number(len(plan.unobtainable), 'path')}"
        for missing in plan.unobtainable:
            yield f"  {missing.path}"
            if missing.derivation:
                yield f"    made by {missing.derivation}"
            yield f"    {missing.reason}"


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
    if len(rows) > _ONE_ROW:
        rows.append(_total(plan))
    if len(rows) > 1:
        yield from table(rows, right=frozenset({1, 2, 3}))
    if plan.incomplete:
        lacking = number(len(plan.incomplete), "path")
        yield f"present, but with missing references: {lacking}"
    there = number(len(plan.present), "path")
    if plan.missing == 0:
        yield f"nothing to fetch: all {there} are present"
    elif plan.present:
        yield f"already present: {there}"


def _total(plan: Plan) -> tuple[str, str, str, str]:
    """All rows together; more than so much, where there are sizes that nobody knows."""
    more = "+" if plan.fetch else ""
    download, unpacked = (f"{size(each)}{more}" for each in (plan.download_bytes, plan.nar_bytes))
    return ("total", f"{plan.missing:,}", download, unpacked)


def _room(need: Need) -> dict[str, Any]:
    """What a plan needs of the room that there is."""
    return {
        "place": str(need.room.place),
        "free_bytes": need.room.bytes,
        "free_files": need.room.files,
        "needed_bytes": need.bytes,
        "unknown_sizes": need.unknown,
        "more_bytes": need.more_bytes,
        "more_files": need.more_files,
        "fits": need.fits,
    }
