"""Keeping what a run made ready: one generation a target, recorded at its end.

A target that misses something gets a generation that says so, which keeps what there is until the
next run completes it. The newest complete generation stays: only an incomplete one goes when
another takes its place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mirror.destinations import Generation
from mirror.destinations.records.vouched import recorded_keys
from mirror.planning.refusals import failing
from mirror.planning.vouching import vouching
from mirror.sync.kept.changed import since_before
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from mirror.destinations import Destination
    from mirror.formats.path_info import PathInfo
    from mirror.formats.signing import PublicKey
    from mirror.formats.store_path import StorePath
    from mirror.planning.changes import Since
    from mirror.planning.plan import TargetPlan
    from mirror.planning.refusals import Refusal
    from mirror.planning.vouching import Vouching
    from mirror.sync.prepare import EvaluatedTargets
    from mirror.sync.results import Tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The newest generations of a run's targets: the ``new`` ones, and those that said the same.

    ``vouching`` says by target who vouches for what its newest generation keeps, ``changed`` what a
    new generation changed, if it is not the first.
    """

    new: tuple[Generation, ...]
    unchanged: tuple[Generation, ...]
    vouching: Mapping[str, Vouching]
    changed: Mapping[str, Since]


async def keep(tried: Tried, trusted: Iterable[PublicKey], destination: Destination) -> Kept:
    """Record a generation for each target whose newest one says something else.

    The manifest of one that says the same is renewed where it does not say who vouches for what it
    keeps, or somebody else does by now.

    Raises:
        DestinationError: the destination cannot be used.

    """
    earlier = await destination.generations()
    newest_of = {each.target: each for each in earlier}
    keys = (*trusted, *await destination.signers())
    recorded = recorded_keys(earlier)
    there, refused_of = tried.there, tried.refused
    kept = []
    unchanged = []
    vouching_of = {}
    changed = {}
    for target in tried.plan_now.targets:
        name = target.target.name
        newest = newest_of.get(name)
        wanted = (target.paths | target.lacking) - there
        refused = tuple(each for each in refused_of[name] if each.path in wanted)
        generation = _generation(target, tried.evaluated, there, refused, newest)
        infos = await destination.held(generation.paths)
        vouched = await _vouching(infos, keys, recorded, destination)
        vouching_of[name] = vouched.without(generation.private or ())
        if newest is not None and _say_the_same(newest, generation):
            renewed = replace(newest, outputs=generation.outputs, vouched=vouched.by_key)
            if renewed != newest:
                await destination.keep(renewed)
            unchanged.append(renewed)
            continue
        size = sum(info.nar_size for info in infos.values())
        generation = replace(generation, nar_bytes=size, vouched=vouched.by_key)
        await destination.keep(generation)
        kept.append(generation)
        since = await in_thread(since_before, generation, earlier)
        if since is not None:
            changed[name] = since
        if newest is not None and newest.missing:
            # It only bridged the time until this run; nobody could go back to it.
            await destination.forget(newest)
    return Kept(new=tuple(kept), unchanged=tuple(unchanged), vouching=vouching_of, changed=changed)


async def _vouching(
    infos: Mapping[StorePath, PathInfo],
    keys: Sequence[PublicKey],
    recorded: Mapping[PublicKey, Collection[StorePath]],
    destination: Destination,
) -> Vouching:
    """Say who vouches for the paths; what nobody vouches for is signed first, if there is a key."""
    found = await in_thread(vouching, infos.values(), keys, recorded)
    if found.refused and await destination.sign(found.refused.keys()):
        signed = await destination.held(infos.keys())
        found = await in_thread(vouching, signed.values(), keys, recorded)
    return found


def _generation(
    plan: TargetPlan,
    evaluated: EvaluatedTargets,
    there: set[StorePath],
    refused: tuple[Refusal, ...],
    newest: Generation | None,
) -> Generation:
    """What the target's next generation is; how large it is has to be asked yet."""
    paths = tuple(sorted(plan.kept & there))
    missing = tuple(
        sorted(
            (plan.kept - there)
            | plan.unobtainable.keys()
            | {each.path for each in failing(refused)}
        )
    )
    return Generation(
        target=plan.target.name,
        number=newest.number + 1 if newest else 1,
        installable=plan.target.installable_text,
        level=plan.level.word,
        root=plan.root,
        created=datetime.now(UTC).replace(microsecond=0),
        paths=paths,
        nar_bytes=0,
        missing=missing,
        refused=refused,
        sources=evaluated.fixed_outputs.flat_hashes(paths),
        inputs=tuple(
            each
            for each in evaluated.needs[plan.target.name].locked
            if each.path in plan.kept and each.path not in plan.private
        ),
        outputs=tuple(evaluated.graph[plan.root].output_paths()),
        private=tuple(sorted(plan.private.intersection({*paths, *missing}))),
    )


def _say_the_same(one: Generation, other: Generation) -> bool:
    def content(each: Generation) -> tuple[object, ...]:
        return (
            *(each.installable, each.level, each.root),
            *(each.paths, each.missing, each.refused, each.sources, each.inputs, each.private),
        )

    return content(one) == content(other)
