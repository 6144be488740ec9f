"""How a run tells what is on its way."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cli import live_line
from mirror.cli.progress import LineObserver, TerminalObserver
from mirror.cli.transfer import Transfer
from mirror.formats.store_path import StorePath
from mirror.sync.report import Expected, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

PATH = StorePath.parse("/nix/store/c5sh3djl96n4k7fjgicnvpad6wm6yf6d-busybox-1.36")
PATHS = [
    StorePath.parse(f"/nix/store/{n:032}-{name}")
    for n, name in enumerate(["linux-6.12.2", "firefox-133.0", "gcc-14.2.0", "a.patch", "x.drv"])
]


def test_a_size_that_nobody_knows_is_not_said() -> None:
    lines: list[str] = []
    observer = LineObserver(lines.append)
    observer.transfer_begins(Expected(sizes={PATHS[0]: 1_500, PATHS[1]: None}))
    observer.transfer_begins(Expected(sizes={PATH: None}))
    observer.transfer_begins(Expected(sizes={PATH: 7}, local=frozenset(PATHS)))
    observer.transfer_begins(Expected(sizes={}, local=frozenset({PATH})))
    assert lines == [
        "fetching 2 paths, 1.5 kB",
        "fetching 1 path",
        "fetching 1 path, 7 B; copying 5 paths of this machine",
        "copying 1 path of this machine",
    ]


def last_line(text: str) -> str:
    """What stands on the terminal's last line that has something."""
    return re.split(r"\n|\r\x1b\[K", text.rstrip("\n"))[-1]


@pytest.mark.parametrize(
    ("result", "end"), [("stored", "1/1 paths 100%"), ("failed", "1/1 paths  60%")]
)
def test_the_bar_ends_where_all_was_obtained(
    result: Literal["stored", "failed"], end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    observer = TerminalObserver()
    observer.transfer_begins(Expected(sizes={PATH: 100}))
    observer.started(PATH, "a cache")
    observer.received(PATH, 60)  # it was compressed
    observer.finished(Outcome(path=PATH, result=result))
    observer.transfer_ends()
    assert last_line(capsys.readouterr().err).startswith(end)


def test_no_bytes_are_counted_where_all_is_copied_on_the_machine(
    capsys: pytest.CaptureFixture[str],
) -> None:
    observer = TerminalObserver()
    observer.transfer_begins(Expected(sizes={}, local=frozenset({PATH})))
    assert last_line(capsys.readouterr().err).endswith("| 0:00")
    observer.finished(Outcome(path=PATH, result="stored"))
    observer.transfer_ends()
    assert last_line(capsys.readouterr().err).endswith("| in 0:00")


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["started", "received", "stored", "failed"]),
        st.sampled_from(PATHS),
        st.integers(0, 3_000_000),
        st.floats(0, 100),
    ),
    max_size=60,
)
SIZES = st.dictionaries(
    st.sampled_from(PATHS[:4]), st.one_of(st.none(), st.integers(0, 2_000_000)), min_size=1
)


@given(SIZES, EVENTS)
def test_the_share_never_becomes_less_and_is_whole_only_at_the_end(
    sizes: dict[StorePath, int | None], events: Sequence[tuple[str, StorePath, int, float]]
) -> None:
    """Whatever is sent again, is larger or smaller than was said, or fails."""
    transfer = Transfer(Expected(sizes=sizes, local=frozenset(PATHS) - sizes.keys()), 0.0)
    now, before, settled = 0.0, transfer.share, dict[StorePath, bool]()
    for what, path, amount, passed in events:
        now += passed
        if path in settled:
            continue
        match what:
            case "started":
                transfer.started(path)
            case "received":
                transfer.received(path, amount)
            case _:
                settled[path] = what == "stored"
                transfer.settled(path, is_there=settled[path])
        rate, left = transfer.measure(now)
        assert before - 1e-9 <= transfer.share <= 1 + 1e-9
        assert rate >= 0
        assert left is None or left >= 0
        before = transfer.share
        wanted = {path for path, size in sizes.items() if size is None or size > 0}
        if wanted - settled.keys() and not any(sizes[path] for path in wanted):
            assert before < 1
    for path in PATHS:
        if path not in settled:
            settled[path] = True
            transfer.settled(path, is_there=True)
    assert transfer.is_settled
    if all(settled.values()):
        assert transfer.share == pytest.approx(1)


def test_what_takes_longest_is_named_first_and_what_is_copied_is_not() -> None:
    transfer = Transfer(
        Expected(sizes={PATHS[0]: 100, PATHS[1]: 900, PATHS[3]: None}, local=frozenset(PATHS[4:])),
        0.0,
    )
    for path in (PATHS[4], PATHS[0], PATHS[1], PATHS[3]):
        transfer.started(path)
        transfer.received(path, 50)
    assert [each.path for each in transfer.under_way()] == [PATHS[1], PATHS[0], PATHS[3]]
    assert transfer.bytes == 150
    assert (transfer.paths, transfer.local) == ((0, 3), (0, 1))
    transfer.settled(PATHS[4], is_there=True)
    assert (transfer.paths, transfer.local) == ((0, 3), (1, 1))


def test_the_rate_is_of_late_and_the_time_left_follows_from_it() -> None:
    transfer = Transfer(Expected(sizes={PATH: 1_000}), 0.0)
    transfer.started(PATH)
    for second in range(1, 6):
        transfer.received(PATH, 100)
        rate, left = transfer.measure(float(second))
    assert rate == 100
    assert left == pytest.approx(5)
    # Nothing comes any more: that is seen within half a minute.
    for second in range(6, 60):
        rate, left = transfer.measure(float(second))
    assert (rate, left) == (0, None)


@pytest.mark.parametrize("columns", [20, 40, 80, 140])
def test_a_line_is_never_longer_than_the_terminal_is_wide(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_line, "_columns", lambda: columns)
    monkeypatch.setattr(live_line, "_PAUSE_SECONDS", 0)
    observer = TerminalObserver()
    with observer.counting("evaluating", 51) as count:
        for n in range(51):
            count(n + 1, f"host-{n} with a rather long name of an edit")
    with observer.counting(
        "asking https://cache.nixos.org, https://nix-community.cachix.org", None
    ):
        observer.notice("something to know")
    sizes: dict[StorePath, int | None] = dict.fromkeys(PATHS[:3], 123456789012)
    observer.transfer_begins(Expected(sizes=sizes, local=frozenset(PATHS[3:])))
    for path in PATHS:
        observer.started(path, "a cache")
        observer.received(path, 12_345_678_901)
    observer.transfer_ends()
    shown = capsys.readouterr().err
    lines = re.split(r"\n|\r\x1b\[K", shown)
    assert max(map(len, lines)) < columns or max(lines, key=len) == "something to know"
    if columns >= 80:
        assert "evaluating 17 of 51 (host-16 with a rather long name of an edit) 0:00" in lines
        assert last_line(shown).startswith("0/3 paths, 0/2 copied   9% |")
        assert "37.0 GB" in last_line(shown)
    if columns >= 140:
        for path in PATHS[:3]:
            assert f"{path.name} 9%" in last_line(shown)
