"""The status page, its JSON and its metrics, for nothing, one host and many, in any state."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
from rig.html_page import Reader
from rig.made_paths import chain, generation

from mirror.destinations import Receipt, RunRecord
from mirror.serve.status import metrics, page, status
from mirror.serve.status.client_setup import Client
from mirror.serve.status.metrics import Counters
from mirror.serve.status.overview import Host, Kept, Overview
from mirror.sync.kept.freshness import Rehearsal

if TYPE_CHECKING:
    from typing import Literal

LINKS = chain(3)
NOW = datetime.now(UTC).replace(microsecond=0)
CLIENT = Client(url="http://pi:8080", public_keys=("mirror-1:abc",), priority=30)
EVIL = "<script>alert('\"&')</script>\nhost"


def host(
    name: str,
    *,
    missing: bool = False,
    rehearsed: Literal["rehearsed", "failed", "stale"] | None = None,
    failed: bool = False,
) -> Host:
    kept = replace(
        generation(LINKS, target=name),
        created=NOW - timedelta(days=2),
        missing=(LINKS[0].path,) if missing else (),
    )
    receipt = Receipt(
        target=name,
        number=1,
        root=kept.root,
        nix_version="2.34.8",
        created=NOW,
        lock_file=None,
        lock_hash=None,
        problem=EVIL if rehearsed == "failed" else None,
        edits={},
    )
    run = RunRecord(
        target=name,
        finished=NOW - timedelta(hours=3),
        number=1,
        is_complete=not failed,
        problems=(EVIL,) if failed else (),
        only_copies=(LINKS[1].path,),
    )
    return Host(
        name=name,
        generations=(Kept.of(kept),),
        rehearsal=Rehearsal(receipt=receipt, state=rehearsed) if rehearsed else None,
        run=run,
    )


def read(overview: Overview, client: Client = CLIENT) -> Reader:
    return Reader(page.render(overview, client, "/srv/cache", 1_234_567))


def test_a_title_stands_for_the_name_of_what_is_served() -> None:
    named = page.render(Overview(), CLIENT, "/srv/cache", None)
    assert "<title>prefetch: /srv/cache</title>" in named
    assert "<h1>/srv/cache</h1>" in named
    titled = page.render(Overview(), CLIENT, "/srv/cache", None, title="Tom & <b>Ann</b>")
    assert "<title>Tom &amp; &lt;b&gt;Ann&lt;/b&gt;</title>" in titled
    assert "<h1>Tom &amp; &lt;b&gt;Ann&lt;/b&gt;</h1>" in titled
    assert "serving /srv/cache" in Reader(titled).text
    for title, expected in ((None, "/srv/cache"), ("Tom", "Tom")):
        text = status.render(Overview(), CLIENT, "/srv/cache", None, title=title)
        assert json.loads(text)["title"] == expected


def test_both_say_which_version_of_the_program_serves_them() -> None:
    expected = version("prefetch")
    assert f"prefetch {expected}" in read(Overview()).text
    document = json.loads(status.render(Overview(), CLIENT, "/srv/cache", None))
    assert document["prefetch"] == expected


def test_an_empty_cache_says_how_to_fill_it() -> None:
    assert "prefetch sync LIST --to /srv/cache" in read(Overview()).text


def test_one_host_is_shown_with_all_that_is_known_of_it() -> None:
    overview = Overview(hosts=(host("laptop", rehearsed="rehearsed"),), paths=3)
    shown = read(overview).text
    for expected in ("laptop", "complete, rehearsed", "refreshed 3 hours ago", LINKS[1].path):
        assert expected in shown
    assert "1.2 MB of NARs" in shown


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (host("a"), "complete"),
        (host("a", missing=True), "1 path missing"),
        (host("a", failed=True), "complete, last run failed"),
        (host("a", rehearsed="stale"), "complete, rehearsal stale"),
        (host("a", rehearsed="failed"), "rehearsal failed"),
        (Host(name="a"), "nothing kept yet"),
    ],
)
def test_the_state_of_a_host(shown: Host, expected: str) -> None:
    overview = Overview(hosts=(shown,))
    assert f" {expected} " in read(overview).text
    (told,) = json.loads(status.render(overview, CLIENT, "/srv/cache", None))["hosts"]
    assert told["state"] == expected
    if shown.rehearsal is not None:
        assert told["rehearsal"]["nix_version"] == shown.rehearsal.receipt.nix_version
        assert told["rehearsal"]["problem"] == shown.rehearsal.receipt.problem


def test_troubled_hosts_come_first_among_many() -> None:
    hosts = [host(f"host-{number:02}", missing=number % 7 == 3) for number in range(100)]
    shown = read(Overview(hosts=tuple(hosts))).text
    assert all(each.name in shown for each in hosts)
    assert shown.index("host-94") < shown.index("host-00")


def test_nothing_of_others_is_html_and_nothing_is_loaded_from_elsewhere() -> None:
    """Names, problems and URLs are text; the page has its own script, style and links alone."""
    hosts = (host(EVIL, failed=True), host("b", rehearsed="failed"))
    shown = read(Overview(hosts=hosts), replace(CLIENT, public_keys=(EVIL,), url=f"http://{EVIL}"))
    tags = [tag for tag, _ in shown.tags]
    assert not {"img", "iframe", "object", "form", "base"}.intersection(tags)
    assert (tags.count("script"), tags.count("style")) == (1, 1)
    for tag, attributes in shown.tags:
        for name in ("src", "href"):
            address = attributes.get(name)
            assert address in {None, "data:,", "#use", "/status.json", "/metrics"}, (
                tag,
                attributes,
            )
        assert not any(name.startswith("on") for name in attributes)
    assert "alert(" in shown.text


def test_a_client_is_told_what_to_paste() -> None:
    assert CLIENT.nix_conf.splitlines()[:3] == [
        "extra-substituters = http://pi:8080",
        "extra-trusted-public-keys = mirror-1:abc",
        "fallback = true",
    ]
    assert 'nix.settings.trusted-public-keys = [ "mirror-1:abc" ];' in CLIENT.nixos_module
    unsigned = replace(CLIENT, public_keys=())
    assert "keys" not in unsigned.nix_conf + unsigned.nixos_module
    assert "is not signed" in read(Overview(), unsigned).text


def test_the_same_for_programs() -> None:
    overview = Overview(hosts=(host("laptop", failed=True), Host(name="new")), paths=3)
    document = json.loads(status.render(overview, CLIENT, "/srv/cache", None))
    laptop, new = document["hosts"]
    assert laptop["last_run"]["problems"] == [EVIL]
    assert document["served"] == "/srv/cache"
    shown = read(overview).text
    for member in ("seconds_lost_while_away", "seconds_lost_at_a_halt"):
        assert f"some {document['client'][member]}" in shown
    assert laptop["refreshed"] == (NOW - timedelta(days=2)).isoformat()
    assert new == {
        "listed": True,
        "name": "new",
        "state": "nothing kept yet",
        "severity": "bad",
        "complete": False,
        "lost": [],
        "refreshed": None,
        "generations": [],
        "rehearsal": None,
        "last_run": None,
        "client": None,
    }
    text = metrics.render(overview, Counters(), None)
    assert 'prefetch_last_run_complete{target="laptop"} 0\n' in text
    assert "file_bytes" not in text


def test_names_are_escaped_in_metrics() -> None:
    text = metrics.render(Overview(hosts=(host('a"b\\c\nd'),)), Counters(), 5)
    assert r'prefetch_generations{target="a\"b\\c\nd"} 1' in text
