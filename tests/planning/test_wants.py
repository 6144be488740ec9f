"""The rules of what a target needs, on small graphs made by hand.

That they are Nix's own rules is shown in tests/sync/test_plan_against_nix.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.made_graphs import info, offer, out, package, source, store_path

from mirror.planning.availability import Availability
from mirror.planning.fetchers.fixed_output_index import FixedOutputs
from mirror.planning.graph import Graph
from mirror.planning.wants import Rules, Wants

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Mapping

    from mirror.formats.derivation import Derivation
    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.planning.fetchers.fixed_outputs import FixedOutput


def wants_of(
    derivations: Iterable[Derivation],
    answers: Mapping[StorePath, Availability],
    *,
    held: Mapping[StorePath, PathInfo] | None = None,
    builder_refusal: Callable[[FixedOutput], str | None] = lambda _: None,
    always_substitute: bool = False,
    shuffle: random.Random | None = None,
) -> Wants:
    """The answered wants of the last derivation, the root."""
    ordered = list(derivations)
    graph = Graph({each.path: each for each in ordered})
    rules = Rules(
        fixed_output=FixedOutputs(graph, overrides={}, system="x86_64-linux").__getitem__,
        builder_refusal=builder_refusal,
        always_substitute=always_substitute,
    )
    wants = Wants(graph, rules, held=held)
    wants.want_outputs(ordered[-1].path, ordered[-1].outputs)
    waiting: list[StorePath] = []
    while waiting := [*waiting, *wants.questions()]:
        position = shuffle.randrange(len(waiting)) if shuffle else 0
        path = waiting.pop(position)
        wants.answer(path, answers.get(path, Availability()))
    return wants


def test_what_a_cache_has_is_substituted_with_its_references() -> None:
    library, root = package("library"), package("root")
    wants = wants_of(
        [library, root],
        {out(root): offer(out(root), [out(root), out(library)]), out(library): offer(out(library))},
    )
    assert wants.paths.keys() == {out(root), out(library)}
    assert not wants.build


def test_what_no_cache_has_is_built_and_its_inputs_are_wanted() -> None:
    tool = package("tool")
    root = package("root", [tool])
    wants = wants_of([tool, root], {out(tool): offer(out(tool))})
    assert wants.build == {root.path}
    assert wants.paths.keys() == {out(tool)}


def test_a_derivation_is_built_when_one_of_its_wanted_outputs_is_missing() -> None:
    tool = package("tool", outputs=("out", "dev"))
    root = package("root", [tool])
    wants = wants_of([tool, root], {out(tool): offer(out(tool))})
    assert wants.build == {root.path, tool.path}
    assert not wants.paths


@pytest.mark.parametrize(("always", "built"), [(False, True), (True, False)])
def test_forbidden_substitution_means_building_unless_nix_is_told_otherwise(
    *, always: bool, built: bool
) -> None:
    root = package("root", attributes={"allowSubstitutes": ""})
    wants = wants_of([root], {out(root): offer(out(root))}, always_substitute=always)
    assert (root.path in wants.build) is built


def test_a_source_at_its_origin_needs_no_fetcher() -> None:
    curl = package("curl")
    tarball = source("tarball", [curl], url="https://origin/tarball")
    root = package("root", [tarball])
    wants = wants_of([curl, tarball, root], {})
    assert wants.fetch.keys() == {out(tarball)}
    assert wants.build == {root.path}
    assert not wants.unobtainable


def test_a_source_that_only_its_builder_can_make_needs_its_fetcher() -> None:
    go = package("go")
    modules = source("modules", [go])
    root = package("root", [modules])
    wants = wants_of([go, modules, root], {out(go): offer(out(go))})
    assert wants.fetch.keys() == {out(modules)}
    assert wants.paths.keys() == {out(go)}


def test_a_source_whose_builder_cannot_run_is_unobtainable_and_says_why() -> None:
    modules = source("modules")
    wants = wants_of([modules, package("root", [modules])], {}, builder_refusal=lambda _: "no ARM")
    (missing,) = wants.unobtainable.values()
    assert missing.derivation == modules.path
    assert "no ARM" in missing.reason


def test_a_reference_that_no_cache_has_is_unobtainable_and_not_built() -> None:
    library = package("library")
    root = package("root", [library])
    wants = wants_of([library, root], {out(root): offer(out(root), [out(library)])})
    (missing,) = wants.unobtainable.values()
    assert missing.path == out(library)
    assert "root refers to it" in missing.reason
    assert not wants.build


def test_a_reference_that_evaluation_made_comes_from_there() -> None:
    script = store_path("script.sh")
    root = package("root", sources=[script])
    wants = wants_of([root], {out(root): offer(out(root), [script]), script: offer(script)})
    assert wants.evaluated == {script}
    assert not wants.unobtainable


def test_a_held_output_of_a_local_derivation_needs_no_inputs() -> None:
    tool = package("tool")
    local = package("local", [tool])
    root = package("root", [local])
    held = {out(local): info(out(local))}
    wants = wants_of([tool, local, root], {}, held=held)
    assert wants.paths.keys() == {out(local)}
    assert wants.build == {root.path}


@pytest.mark.parametrize("environment", [{"preferLocalBuild": "1"}, {"allowSubstitutes": ""}])
def test_a_held_output_that_edits_rebuild_is_kept_and_its_inputs_too(
    environment: dict[str, str],
) -> None:
    tool = package("tool")
    local = package("local", [tool], attributes=environment)
    root = package("root", [local])
    wants = wants_of(
        [tool, local, root],
        {out(tool): offer(out(tool))},
        held={out(local): info(out(local))},
    )
    assert wants.paths.keys() == {out(local), out(tool)}
    assert wants.build == {root.path, local.path}


def test_a_held_path_is_not_asked_for() -> None:
    tool = package("tool")
    graph = Graph({tool.path: tool})
    wants = Wants(
        graph,
        Rules(fixed_output=lambda _: pytest.fail("no source"), builder_refusal=lambda _: None),
        held={out(tool): info(out(tool))},
    )
    wants.want_outputs(tool.path, ["out"])
    assert wants.questions() == []
    assert wants.paths.keys() == {out(tool)}


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Derivation], dict[StorePath, Availability]]:
    """A random graph whose last derivation is the root, with a random part in a cache."""
    derivations: list[Derivation] = []
    answers: dict[StorePath, Availability] = {}
    for index in range(draw(st.integers(1, 12))):
        inputs = draw(
            st.lists(st.sampled_from(derivations), unique_by=lambda d: d.path)
            if derivations
            else st.just([])
        )
        if draw(st.booleans()):
            made = package(
                f"package{index}",
                inputs,
                attributes={"allowSubstitutes": draw(st.sampled_from(["1", ""]))},
            )
        else:
            made = source(f"source{index}", inputs, url=draw(st.sampled_from(["", "https://x/y"])))
        derivations.append(made)
        if draw(st.booleans()):
            references = draw(st.lists(st.sampled_from(inputs))) if inputs else []
            answers[out(made)] = offer(out(made), [out(each) for each in references])
    return derivations, answers


@given(graphs(), st.randoms(use_true_random=False))
def test_the_order_of_answers_does_not_matter(
    graph: tuple[list[Derivation], dict[StorePath, Availability]], shuffle: random.Random
) -> None:
    derivations, answers = graph
    one = wants_of(derivations, answers)
    other = wants_of(derivations, answers, shuffle=shuffle)
    assert one.build == other.build
    assert one.paths == other.paths
    assert one.fetch == other.fetch
    assert one.unobtainable.keys() == other.unobtainable.keys()


@given(graphs())
def test_once_everything_is_held_nothing_is_left_to_fetch(
    graph: tuple[list[Derivation], dict[StorePath, Availability]],
) -> None:
    derivations, answers = graph
    first = wants_of(derivations, answers)
    held = {
        **{path: each.info for path, each in first.paths.items() if each.info is not None},
        **{path: info(path) for path in first.fetch},
    }
    second = wants_of(derivations, answers, held=held)
    assert second.paths.keys() <= held.keys()
    assert not second.fetch
    assert second.build <= first.build
