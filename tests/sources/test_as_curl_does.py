"""Each behaviour of the tables, met by curl and by the project's client."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest
from rig.manners import bodies, credentials, cuts, heads, locations, sizes, statuses
from rig.manners.chains import drawn_chain
from rig.manners.parties import (
    size_with_newest_curl,
    size_with_ours,
    small_with_ours,
    with_installed_curl,
    with_newest_curl,
    with_ours,
)

if TYPE_CHECKING:
    from pathlib import Path

    from rig.manners.behaviour import Behaviour
    from rig.manners.parties import Outcome

OF_ONE_ANSWER = (
    *heads.BEHAVIOURS,
    *bodies.BEHAVIOURS,
    *statuses.BEHAVIOURS,
    *locations.BEHAVIOURS,
    *credentials.BEHAVIOURS,
)
BEHAVIOURS = (*OF_ONE_ANSWER, *cuts.BEHAVIOURS)


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.name)
async def test_the_client_comes_to_what_curl_comes_to(behaviour: Behaviour, tmp_path: Path) -> None:
    installed, newest, ours = await asyncio.gather(
        with_installed_curl(behaviour, tmp_path),
        with_newest_curl(behaviour, tmp_path),
        with_ours(behaviour, tmp_path),
    )
    assert newest.body == behaviour.given, newest.failure
    if behaviour.older is None:
        assert installed == newest
    see_ours(behaviour, newest, ours)


@pytest.mark.parametrize("behaviour", sizes.BEHAVIOURS, ids=lambda behaviour: behaviour.name)
async def test_a_size_is_what_curl_takes_for_it(behaviour: Behaviour, tmp_path: Path) -> None:
    newest, ours = await asyncio.gather(
        size_with_newest_curl(behaviour, tmp_path), size_with_ours(behaviour, tmp_path)
    )
    assert newest.body == behaviour.given, newest.failure
    see_ours(behaviour, newest, ours)


@pytest.mark.parametrize(
    "behaviour",
    [each for each in OF_ONE_ANSWER if not each.name.startswith("Content-Encoding")],
    ids=lambda behaviour: behaviour.name,
)
async def test_a_small_answer_is_read_as_a_large_one(behaviour: Behaviour, tmp_path: Path) -> None:
    """Those with an encoding are not: there it is undone, here it is kept as curl keeps it."""
    small = await small_with_ours(behaviour, tmp_path)
    expected = behaviour.given if behaviour.unlike is None else behaviour.ours
    assert small.body == expected, small.failure


async def test_drawn_chains_of_redirects_are_followed_as_curl_follows_them(tmp_path: Path) -> None:
    """More of them by hand: ``PREFETCH_CHAINS=5000``."""
    for number in range(int(os.environ.get("PREFETCH_CHAINS", "60"))):
        chain = drawn_chain(number)
        newest, ours = await asyncio.gather(
            with_newest_curl(chain, tmp_path), with_ours(chain, tmp_path)
        )
        assert newest.body == chain.given, (number, newest.failure)
        assert ours == newest, number


def see_ours(behaviour: Behaviour, newest: Outcome, ours: Outcome) -> None:
    """Compare the client with curl, as far as the table says that they are alike."""
    if behaviour.unlike is None:
        assert ours == newest, ours.failure
    else:
        assert ours != newest, "it is like curl by now"
        assert ours.body == behaviour.ours, ours.failure


def test_each_behaviour_has_a_name_of_its_own() -> None:
    names = [behaviour.name for behaviour in BEHAVIOURS]
    assert len(set(names)) == len(names) >= 80
