"""What a browser makes of the status page: its structure, with and without its script."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from rig.html_page import Element, Reader
from rig.made_paths import chain, generation
from rig.serving import serve_directory

from mirror.destinations import CacheDirectory, Receipt, RunRecord
from mirror.planning.vouching import Vouching
from mirror.serve.status import assets, page, status
from mirror.serve.status.client_setup import Client
from mirror.serve.status.overview import Host, Kept, Overview
from mirror.sync.kept.freshness import Rehearsal

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal

LINKS = chain(30)
NOW = datetime.now(UTC).replace(microsecond=0)
OWN, OTHER, RARE = "mirror-1:b3du", "other-1:b3RoZXI=", "rare-1:cmFyZQ=="
CLIENT = Client(
    url="http://pi:8080", public_keys=(OWN,), priority=30, upstream_keys=(OWN, OTHER, RARE)
)
EVIL = "</b></summary></details></style></script><script>alert('\"&')</script><!--"
UNTRUSTED = Vouching(refused={LINKS[0].path: ()})


def host(
    name: str,
    *,
    missing: int = 0,
    complete: bool = True,
    listed: bool = True,
    rehearsed: Literal["rehearsed", "failed", "stale"] | None = "rehearsed",
) -> Host:
    kept = generation(LINKS, target=name)
    kept = replace(kept, created=NOW, missing=kept.paths[:missing])
    receipt = Receipt(
        target=name,
        number=1,
        root=kept.root,
        nix_version="2.34.8",
        created=NOW,
        lock_file=None,
        lock_hash=None,
        problem=None,
        edits={},
    )
    lists = None if listed else ()
    return Host(
        name=name,
        generations=(Kept.of(kept),),
        rehearsal=Rehearsal(receipt=receipt, state=rehearsed) if rehearsed else None,
        run=RunRecord(target=name, finished=NOW, number=1, is_complete=complete, lists=lists),
        keys=(OWN, OTHER),
    )


KINDS: list[dict[str, Any]] = [
    {"missing": 2},
    {"rehearsed": "failed"},
    {"complete": False},
    {"rehearsed": "stale"},
    {"rehearsed": None},
    {},
    {"listed": False},
]
"""Hosts in every state, the most urgent first, by what makes them."""


def many(count: int) -> Overview:
    """Hosts by name, of which each tenth has something to be said of it."""
    kinds: list[dict[str, Any]] = [{} for _ in range(count)]
    for number in range(0, count, 10):
        kinds[number] = KINDS[number // 10 % len(KINDS)]
    return Overview(hosts=tuple(host(f"host-{n:02}", **kind) for n, kind in enumerate(kinds)))


def shown(overview: Overview, client: Client = CLIENT, *, title: str | None = None) -> Element:
    return Reader(page.render(overview, client, "/srv/cache", 1, title=title)).root


def told(overview: Overview, client: Client = CLIENT) -> Any:
    return json.loads(status.render(overview, client, "/srv/cache", 1))


def names(of: Element) -> list[str]:
    return [each.one("b").text for each in of.all("summary")]


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_each_host_is_one_row_that_opens(count: int) -> None:
    overview = many(count)
    lists = list(shown(overview).all("ul", "hosts"))
    assert len(lists) == min(count, 1)
    rows = [row for each in lists for row in each.content if isinstance(row, Element)]
    assert len(rows) == count
    for row in rows:
        details = row.one("details")
        first, *_ = (each for each in details.content if isinstance(each, Element))
        assert (row.tag, first.tag) == ("li", "summary")
        assert ("open" in details.attributes) == (count == 1), "the only one is open"
    assert sorted(names(shown(overview))) == [each.name for each in overview.hosts]


def test_the_most_urgent_come_first() -> None:
    """The names say the reverse of it, so it is not their order that is seen."""
    kinds = list(reversed(KINDS))
    hosts = [host(f"host-{number}", **kind) for number, kind in enumerate(kinds)]
    overview = Overview(hosts=tuple(hosts))
    assert names(shown(overview)) == [f"host-{n}" for n in (5, 6, 3, 4, 2, 1, 0)]
    severities = [each.state[1] for each in overview.by_urgency]
    assert severities == ["bad", "bad", "warn", "warn", "good", "good", "soft"]


@pytest.mark.parametrize(
    ("overview", "expected"),
    [
        (Overview(hosts=(host("a"),)), "No host needs attention"),
        (Overview(hosts=(host("a", missing=1),)), "1 of 1 host needs attention"),
        (Overview(hosts=(Host(name="a"), host("b"))), "1 of 2 hosts needs attention"),
        (
            Overview(hosts=(host("a", rehearsed=None),)),
            "No host needs attention; 1 never rehearsed",
        ),
        (Overview(hosts=(replace(host("a"), vouching=UNTRUSTED),)), "1 of 1 host needs attention"),
        (many(100), "7 of 100 hosts need attention; 1 never rehearsed"),
    ],
)
def test_the_summary_counts_what_the_document_counts(overview: Overview, expected: str) -> None:
    assert shown(overview).one("p", "summary").text == expected
    document = told(overview)
    severe = [each for each in document["hosts"] if each["severity"] in {"bad", "warn"}]
    assert document["attention"] == len(severe)
    marked = [
        each for each in shown(overview).all("details") if "data-attention" in each.attributes
    ]
    assert len(marked) == len(severe)


def test_of_nothing_there_is_no_summary() -> None:
    assert list(shown(Overview()).all("p", "summary")) == []
    assert told(Overview())["attention"] == 0


def test_what_is_to_be_pasted_is_what_the_document_has() -> None:
    overview = many(100)
    document, read = told(overview), shown(overview)
    clients = {each["name"]: each["client"] for each in document["hosts"]}
    for details in read.all("details"):
        blocks = [block.text for block in details.all("pre")]
        client = clients[details.one("b").text]
        assert blocks == [client["command"], client["look"]]
    blocks = [block.text for block in read.all("pre")]
    for lines in ("nix_conf", "nixos"):
        assert blocks.count(document["client"][lines]) == 1


def test_what_is_missing_is_counted_and_not_named() -> None:
    """It may be private."""
    (row,) = shown(Overview(hosts=(host("a", missing=12),))).all("details")
    assert "12 paths of the newest generation" in row.text
    assert generation(LINKS).paths[1] not in row.text


def test_without_its_script_there_is_nothing_that_does_not_work() -> None:
    """Buttons are made by the script, and the filter is shown by it."""
    read = shown(many(100))
    assert list(read.all("button")) == []
    outside = [each for each in read.one("main").content if isinstance(each, Element)]
    (bar,) = (each for each in outside if each.attributes.get("class") == "filter")
    assert "hidden" in bar.attributes
    assert len(list(bar.all("input"))) == len(list(read.all("input"))) == 2
    for label in bar.all("label"):
        assert label.text.strip()
        assert label.one("input").attributes["type"] in {"search", "checkbox"}
    assert "[hidden] { display: none !important; }" in assets.style()


@pytest.mark.parametrize(("count", "inputs"), [(0, 0), (1, 0), (10, 0), (11, 2)])
def test_a_filter_is_for_more_hosts_than_fit_on_a_screen(count: int, inputs: int) -> None:
    assert len(list(shown(many(count)).all("input"))) == inputs
    well = Overview(hosts=tuple(host(f"host-{number}") for number in range(11)))
    assert len(list(shown(well).all("input"))) == 1, "there are no problems to look for"


def test_the_script_looks_for_what_is_on_the_page() -> None:
    read = shown(many(100))
    everything = [read, *(each for tag in ("p", "div", "ul", "b", "pre") for each in read.all(tag))]
    everything += [
        each for tag in ("details", "summary", "input", "output") for each in read.all(tag)
    ]
    marks = {each.tag for each in everything}
    for each in everything:
        marks |= {f"[{name}]" for name in each.attributes}
        marks |= {f"[{name}={value}]" for name, value in each.attributes.items()}
        marks |= {f".{name}" for name in (each.attributes.get("class") or "").split()}
    selectors = re.findall(r'(?:querySelector(?:All)?|closest)\("([^"]+)"\)', assets.script())
    assert len(selectors) > 5
    assert {part for each in selectors for part in each.split()} <= marks


async def test_a_browser_runs_the_script_and_the_style_and_nothing_else(tmp_path: Path) -> None:
    async with CacheDirectory.open(tmp_path / "cache"):
        pass
    async with serve_directory(tmp_path / "cache") as served:
        answered = await served.ask("/")
        others = [await served.ask(each) for each in ("/status.json", "/metrics", "/nar/none")]
    directives = dict(
        each.split(" ", 1) for each in answered.headers["Content-Security-Policy"].split("; ")
    )
    text = answered.body.decode()
    for tag in ("script", "style"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = b64encode(sha256(content.encode()).digest()).decode()
        assert directives.pop(f"{tag}-src") == f"'sha256-{digest}'"
    assert directives == {
        "default-src": "'none'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert not any(" style=" in each for each in re.findall("<[^>]*>", text)), "forbidden, too"
    assert not any("Content-Security-Policy" in each.headers for each in others)


def test_names_end_no_element_and_begin_none() -> None:
    hosts = (host(EVIL, missing=1), *(host(f"{EVIL}{number}") for number in range(11)))
    client = replace(CLIENT, url=f"http://{EVIL}", upstream_keys=(EVIL,))
    hostile = replace(Overview(hosts=hosts), unreadable=(EVIL,), removal=EVIL)
    read = shown(hostile, client, title=EVIL)
    assert names(read)[0] == EVIL
    assert (read.one("title").text, read.one("h1").text) == (EVIL, EVIL)
    assert read.one("script").text == assets.script()
    assert read.one("style").text == assets.style()
    assert len(list(read.all("details"))) == len(hosts)


def test_each_key_is_named_with_what_it_is_for() -> None:
    hosts = [host(f"host-{number}") for number in range(7)]
    hosts[3] = replace(hosts[3], keys=(RARE,))
    read = shown(Overview(hosts=tuple(hosts)))
    said = {each.one("code").text: each.one("span").text for each in read.all("li") if keyed(each)}
    assert said == {
        OWN: "signs what was made here; needed for host-0, host-1, host-2, host-4, host-5 and "
        "1 other host",
        OTHER: "needed for host-0, host-1, host-2, host-4, host-5 and 1 other host",
        RARE: "needed for host-3",
    }
    assert list(said) == told(Overview(hosts=tuple(hosts)))["client"]["keys"]
    without = replace(CLIENT, public_keys=(), upstream_keys=())
    assert "No key but that of cache.nixos.org" in shown(Overview(), without).text


def keyed(item: Element) -> bool:
    """Whether it is about a key."""
    return [each.tag for each in item.content if isinstance(each, Element)] == ["code", "span"]


def test_it_says_whom_a_daemon_believes() -> None:
    text = shown(Overview()).text
    for expected in ("trusted-users", "daemon", "/etc/nix/nix.conf"):
        assert expected in text


def test_without_a_path_to_ask_for_there_is_no_command() -> None:
    there = host("a")
    kept = replace(there.generations[0], realisable=())
    overview = Overview(hosts=(replace(there, generations=(kept,)),))
    assert list(shown(overview).one("details").all("pre")) == []
    assert told(overview)["hosts"][0]["client"]["command"] is None


def luminance(color: str) -> float:
    """Relative luminance, as WCAG 2 has it."""
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_what_is_written_can_be_told_from_its_ground(scheme: int) -> None:
    """By WCAG 2.2 at level AA: 4.5 for text, 3 for the edges of what is pressed or filled in."""
    block = re.findall(r":root \{(.*?)\}", assets.style(), re.DOTALL)[scheme]
    colors = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block))
    for ground in ("card", "ground"):
        for ink in ("ink", "soft", "good", "bad", "warn", "link"):
            assert contrast(colors[ink], colors[ground]) >= 4.5, (ink, ground)
        assert contrast(colors["edge"], colors[ground]) >= 3, ground


def test_headings_leave_out_no_level() -> None:
    levels = [
        int(tag[1])
        for tag, _ in Reader(page.render(many(100), CLIENT, "/srv/cache", 1)).tags
        if re.fullmatch("h[1-6]", tag)
    ]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
