"""Ranges and conditions, as RFC 9110 has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.serve.http.answers import Part, matches, part


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, "whole"),
        ("bytes=0-0", Part(0, 1)),
        ("bytes=3-", Part(3, 10)),
        ("bytes=3-99", Part(3, 10)),
        ("bytes=-3", Part(7, 10)),
        ("bytes=-99", Part(0, 10)),
        ("BYTES=1-2", Part(1, 3)),
        ("bytes=10-", "unsatisfiable"),
        ("bytes=-0", "unsatisfiable"),
        ("bytes=5-4", "whole"),
        ("bytes=-", "whole"),
        ("bytes=1-2,4-5", "whole"),
        ("pages=1-2", "whole"),
        ("bytes=one-2", "whole"),
        ("bytes=٣-", "whole"),
    ],
)
def test_the_part_that_is_asked_for(header: str | None, expected: object) -> None:
    assert part(header, size=10, if_range=None, tag="t") == expected


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_a_part_is_within_the_content(first: int, last: int, size: int) -> None:
    found = part(f"bytes={first}-{last}", size=size, if_range=None, tag="t")
    if isinstance(found, Part):
        assert 0 <= found.start < found.end <= size


def test_a_range_holds_only_while_the_content_is_the_same() -> None:
    assert part("bytes=1-", size=10, if_range='"t"', tag="t") == Part(1, 10)
    assert part("bytes=1-", size=10, if_range='"other"', tag="t") == "whole"
    assert part("bytes=1-", size=10, if_range='W/"t"', tag="t") == "whole"
    a_date = "Tue, 24 Nov 2026 11:00:00 GMT"
    assert part("bytes=1-", size=10, if_range=a_date, tag="t") == "whole"


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, False), ('"t"', True), ('W/"t"', True), ('"a", "t"', True), ("*", True), ("t", False)],
)
def test_a_client_that_has_it_already(header: str | None, *, expected: bool) -> None:
    assert matches(header, "t") is expected
