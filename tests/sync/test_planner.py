"""Planning, where what it asks cannot answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from mirror.errors import DestinationError
from mirror.formats.store_path import StorePath
from mirror.planning.fetchers.fixed_output_index import FixedOutputs
from mirror.planning.graph import Graph
from mirror.planning.wants import Rules, Wants
from mirror.sync.planner import _Kept, _Planner
from mirror.sync.prepare import EvaluatedTargets

if TYPE_CHECKING:
    from mirror.destinations import Destination
    from mirror.sync.workshop import Workshop

PATH = StorePath.parse("/nix/store/7rjqb838snvvxcmpvck1smfxhkwzqal5-hello-2.12")


class LostDestination:
    async def look_up(self, _: object) -> None:
        raise DestinationError("the disk is gone", hint="look for it")


class Settings:
    always_allow_substitutes = False


class IdleWorkshop:
    settings = Settings()

    @staticmethod
    def builder_refusal(_: object) -> None: ...


async def test_a_destination_that_fails_while_it_is_asked_is_reported_as_such() -> None:
    graph = Graph({})
    fixed_outputs = FixedOutputs(graph, overrides={}, system="x86_64-linux")
    targets = EvaluatedTargets(
        evaluated=(),
        failures=(),
        graph=graph,
        references={},
        needs={},
        fixed_outputs=fixed_outputs,
    )
    planner = _Planner(
        targets,
        cast("Workshop", IdleWorkshop()),
        _Kept(cast("Destination", LostDestination())),
        {},
        None,
    )
    wants = Wants(
        graph, Rules(fixed_output=fixed_outputs.__getitem__, builder_refusal=lambda _: None)
    )
    wants.want_path(PATH)
    with pytest.raises(DestinationError, match="the disk is gone"):
        await planner._answer(wants)
