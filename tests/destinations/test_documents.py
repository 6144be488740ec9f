"""What a document's values may be: others may write to the directory that it is in."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mirror import quantities
from mirror.destinations.records.documents import moment, name, text


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "1969-12-31T23:59:59+00:00",
        "2026-11-24T00:00:00",
        "yesterday",
        "",
    ],
)
def test_a_time_that_no_page_could_show_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|isoformat"):
        moment(text)


@pytest.mark.parametrize("text", ["1970-01-01T00:00:00+14:00", "9998-12-31T23:59:59-12:00"])
def test_the_first_and_the_last_time_can_be_shown(text: str) -> None:
    assert quantities.moment(moment(text))
    assert quantities.age(datetime(2026, 11, 24, tzinfo=UTC) - moment(text))


@pytest.mark.parametrize("told", ["\x1b[31m", "two\nlines", "back\r", "\0", "\ud800", "\u202e"])
def test_a_name_that_a_terminal_would_obey_is_refused(told: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        name(f"pi{told}")


def test_a_name_is_what_a_list_may_have() -> None:
    assert name("größe\N{NO-BREAK SPACE}\t1") == "größe\N{NO-BREAK SPACE}\t1"


def test_a_problem_is_told_so_that_a_terminal_does_nothing() -> None:
    assert text("one\ntwo \x1b[5m\ud800") == "one\ntwo \\x1b[5m\\ud800"
