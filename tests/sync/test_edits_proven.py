"""Readiness that is claimed holds, and readiness that is denied fails, for every edit, for real."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rig.running import collect_garbage, run

from mirror.destinations import NixStore
from mirror.nix.stores import StoreLocation
from mirror.sync.offline.check import check

if TYPE_CHECKING:
    from rig.bench import Bench
    from rig.running import ScratchStore

    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix
    from mirror.planning.plan import TargetPlan

EDITS = "hosts,hostname,user,firewall-port,wifi,dnsmasq,timer,systemd-service,wireguard"
LINE = "laptop = DEMO#laptop"


async def kept(bench: Bench, nix: Nix, line: str, client: ScratchStore) -> TargetPlan:
    """Sync the line to the client, and collect its garbage for real."""
    synced = await bench.sync(nix, line, client)
    assert synced.is_complete
    collect_garbage(nix, client)
    return synced.plan.targets[0]


async def claims(bench: Bench, nix: Nix, client: ScratchStore) -> dict[str | None, bool]:
    """What ``check`` says of the target and each of its edits."""
    async with NixStore.open(nix, StoreLocation.parse(client.url), exclusive=False) as store:
        checked = await check(
            bench.targets(f"{LINE} edits={EDITS}"),
            nix,
            bench.recorder,
            store=bench.evaluation.url,
            destination=store,
        )
    return {each.edit: each.is_ready for each in checked if each.is_applicable}


def builds(bench: Bench, nix: Nix, client: ScratchStore, root: StorePath) -> bool:
    """Whether real Nix builds it in the client's store, where there is no network."""
    copy = ("nix", "copy", "--derivation", "--no-check-sigs")
    run(nix, *copy, "--from", bench.evaluation.url, "--to", client.url, root)
    built = run(
        nix,
        *("nix-store", "--realise", root, "--option", "substitute", "false"),
        store=client,
        offline=True,
        check=False,
    )
    return built.returncode == 0


@pytest.mark.timeout(1800)
async def test_with_edits_on_the_list_each_edited_system_is_ready_and_builds(
    bench: Bench, any_nix: Nix
) -> None:
    client = bench.empty_store("client")
    plan = await kept(bench, any_nix, f"{LINE} edits={EDITS}", client)
    roots = {each.name: each.root for each in plan.edits if each.root is not None}
    assert len(roots) >= 5
    (inapplicable,) = [each for each in plan.edits if each.root is None]
    assert inapplicable.name == "wireguard"
    assert not inapplicable.is_applicable
    claimed = await claims(bench, any_nix, client)
    assert claimed.keys() == {None, *roots}
    assert all(claimed.values())
    for name, root in roots.items():
        assert builds(bench, any_nix, client, root), name


@pytest.mark.timeout(1800)
async def test_without_them_exactly_the_edits_that_are_denied_fail(
    bench: Bench, any_nix: Nix
) -> None:
    other = bench.empty_store("other")
    roots = {
        each.name: each.root
        for each in (await kept(bench, any_nix, f"{LINE} edits={EDITS}", other)).edits
        if each.root is not None
    }
    client = bench.empty_store("client")
    await kept(bench, any_nix, LINE, client)
    claimed = await claims(bench, any_nix, client)
    assert claimed[None]
    assert not claimed["dnsmasq"]
    for name, root in roots.items():
        assert builds(bench, any_nix, client, root) is claimed[name], name
