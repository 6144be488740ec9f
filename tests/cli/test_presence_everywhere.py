"""What is missing of a generation is said by every surface alike, and brought by a sync."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from rig.serving import serve_directory

from mirror.formats.narinfo import parse_narinfo

if TYPE_CHECKING:
    from pathlib import Path

    from rig.shell import Shell


def reached_by_references(cache: Path, substituted: set[str]) -> Path:
    """The narinfo of a substituted path that other outputs refer to."""
    entries = {file: parse_narinfo(file.read_bytes()) for file in sorted(cache.glob("*.narinfo"))}
    outputs = [each for each in entries.values() if not each.info.path.is_derivation]
    referred = {path for each in outputs for path in each.info.references}
    lost = min(referred & substituted)
    return next(file for file, each in entries.items() if each.info.path == lost)


@pytest.mark.parametrize("loss", ["narinfo", "NAR", "cut NAR", "altered NAR"])
async def test_every_surface_goes_by_what_is_there(shell: Shell, loss: str) -> None:
    shell.write_list("laptop = DEMO#laptop")
    sync = shell.arguments("sync", "hosts.txt", "--to", "cache", "--json")
    first = shell.json(sync)
    cache = shell.directory / "cache"
    async with serve_directory(cache) as served:
        status = json.loads((await served.ask("/status.json")).body)
        assert status["hosts"][0]["generations"][0]["missing"] == []
    narinfo = reached_by_references(cache, {each["path"] for each in first["substitute"]})
    entry = parse_narinfo(narinfo.read_bytes())
    lost = entry.info.path
    nar = cache / entry.url
    if loss == "narinfo":
        narinfo.unlink()
    elif loss == "NAR":
        nar.unlink()
    elif loss == "cut NAR":
        nar.write_bytes(nar.read_bytes()[:-3])
    else:
        nar.write_bytes(nar.read_bytes()[:-3] + b"bad")

    words = ("check", "hosts.txt", "--to", "cache", "--store", shell.store_url, "--json")
    (target,) = shell.json([*shell.command, *words], expect=1)["targets"]
    assert not target["ready"]
    assert lost in {each["path"] for cause in target["missing"] for each in cause["paths"]}

    plan = shell.json(shell.arguments("plan", "hosts.txt", "--to", "cache", "--json"))
    assert lost not in plan["present"]
    incomplete = {each["path"] for each in plan["incomplete"]}
    assert incomplete
    assert incomplete.isdisjoint(plan["present"])
    assert {each["path"] for each in plan["substitute"]} == {lost}

    roots = shell.json([*shell.command, "roots", "--to", "cache", "--json"])
    missing = set(roots["generations"][0]["missing"])
    assert missing == {lost, *incomplete}
    said = shell.run([*shell.command, "roots", "--to", "cache"]).stdout
    assert f"incomplete: {len(missing)} paths missing" in said
    async with serve_directory(cache) as served:
        status = json.loads((await served.ask("/status.json")).body)
        assert set(status["hosts"][0]["generations"][0]["missing"]) == missing
        (host,) = status["hosts"]
        assert (set(host["lost"]), host["complete"]) == (missing, False)
        assert host["state"] == f"{len(missing)} paths missing, {len(missing)} lost or damaged"
        assert host["state"] in (await served.ask("/")).body.decode()
        metrics = (await served.ask("/metrics")).body.decode()
        for name, count in (
            ("missing_paths", len(missing)),
            ("lost_paths", len(missing)),
            ("complete", 0),
        ):
            assert f'prefetch_{name}{{target="laptop"}} {count}\n' in metrics

    again = shell.json(sync)
    assert {each["path"] for each in again["outcomes"] if each["result"] == "stored"} == {lost}
    assert not shell.json([*shell.command, "roots", "--to", "cache", "--json"])["generations"][0][
        "missing"
    ]
    plan = shell.json(shell.arguments("plan", "hosts.txt", "--to", "cache", "--json"))
    assert not plan["incomplete"]
    assert not plan["substitute"]
    assert plan["build"] == first["build"]
