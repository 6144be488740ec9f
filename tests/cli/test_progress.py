"""How a run tells what is on its way."""

from __future__ import annotations

from typing import Literal

import pytest

from mirror.cli.progress import LineObserver, TerminalObserver
from mirror.formats.store_path import StorePath
from mirror.sync.report import Outcome

PATH = StorePath.parse("/nix/store/c5sh3djl96n4k7fjgicnvpad6wm6yf6d-busybox-1.36")


def test_a_size_that_nobody_knows_is_not_said() -> None:
    lines: list[str] = []
    observer = LineObserver(lines.append)
    observer.transfer_begins(2, 1_500)
    observer.transfer_begins(1, 0)
    assert lines == ["fetching 2 paths, 1.5 kB", "fetching 1 path"]


@pytest.mark.parametrize(
    ("result", "end"), [("stored", "1/1 paths 100%"), ("failed", "1/1 paths  60%")]
)
def test_the_bar_ends_where_all_was_obtained(
    result: Literal["stored", "failed"], end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    observer = TerminalObserver()
    observer.transfer_begins(1, 100)
    observer.started(PATH, "a cache")
    observer.received(60)  # it was compressed
    observer.finished(Outcome(path=PATH, result=result))
    observer.transfer_ends()
    assert end in capsys.readouterr().err.splitlines()[-1].rpartition("\r")[2]
