"""The metrics: Prometheus reads them, and they say what the page and its JSON say."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
from rig.monitored import GONE, REHEARSED, RUN, monitored
from rig.promtool import promtool

from mirror.serve.status import metrics
from mirror.serve.status.metrics import Counters
from mirror.serve.status.overview import Host, Overview

if TYPE_CHECKING:
    from pathlib import Path

LISTED = {'target="laptop"', 'target="pi"'}


async def test_prometheus_accepts_what_a_server_says(tmp_path: Path) -> None:
    said = (await monitored(tmp_path / "cache")).metrics
    assert promtool("check", "metrics", read=said) == ""
    untyped = said.replace("# HELP prefetch_listed ", "# HELP prefetch_liste ")
    assert "prefetch_listed no help text" in promtool("check", "metrics", read=untyped)
    assert promtool("check", "metrics", read=said.replace('{target="pi"}', "{target=pi}")) != ""


@pytest.mark.parametrize("name", ["new", 'a"b\\c\nd{}', "prefetch 🐧"])
def test_prometheus_accepts_any_name_and_a_mirror_of_nothing(name: str) -> None:
    for overview in (Overview(), Overview(hosts=(Host(name=name),))):
        said = metrics.render(overview, Counters(), None)
        assert promtool("check", "metrics", read=said) == ""


async def test_the_last_run_and_the_rehearsals_are_told_everywhere(tmp_path: Path) -> None:
    said = await monitored(tmp_path / "cache")
    samples = said.samples
    assert samples["prefetch_build_info"] == {f'version="{version("prefetch")}"': 1}
    for name, value in (
        ("timestamp_seconds", RUN.timestamp()),
        ("duration_seconds", 200),
        ("received_bytes", 1_234_567),
    ):
        assert samples[f"prefetch_last_run_{name}"] == dict.fromkeys(LISTED, value)
    assert samples["prefetch_oldest_rehearsal_timestamp_seconds"] == {
        "": REHEARSED["pi"].timestamp()
    }
    assert samples["prefetch_rehearsal_timestamp_seconds"] == {
        f'target="{name}"': moment.timestamp() for name, moment in REHEARSED.items()
    }
    assert samples["prefetch_rehearsed"] == {'target="laptop"': 1, 'target="pi"': 0}
    assert samples["prefetch_rehearsal_failed"] == {'target="laptop"': 0, 'target="pi"': 1}
    assert samples["prefetch_complete"] == dict.fromkeys(LISTED, 1)
    sent = samples["prefetch_sent_bytes_total"][""]
    assert sent > said.status["server"]["sent_bytes"] >= len(said.page.encode())
    assert (
        said.status["server"]["started"]
        == Counters(started=samples["prefetch_start_time_seconds"][""]).since.isoformat()
    )
    assert re.search(r"; \d+ B sent since 20[\d: -]+</footer>", said.page)

    hosts = {each["name"]: each for each in said.status["hosts"]}
    assert hosts.keys() == {*REHEARSED, GONE}
    assert samples["prefetch_attention_targets"] == {"": said.status["attention"]}
    assert said.status["attention"] == 1
    assert said.status["oldest_rehearsal"] == REHEARSED["pi"].isoformat()
    for name, moment in REHEARSED.items():
        assert hosts[name]["complete"]
        assert hosts[name]["rehearsal"]["created"] == moment.isoformat()
        run = hosts[name]["last_run"]
        assert (run["finished"], run["duration_seconds"]) == (RUN.isoformat(), 200)
        assert run["received_bytes"] == 1_234_567
    assert ", took 3:20, received 1.2 MB</p>" in said.page
    assert " · oldest rehearsal " in said.page
