from __future__ import annotations

import pytest

from mirror.errors import FormatError, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("größe\n\tin bytes", "größe\n\tin bytes"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\rb\x00\x7f\u202e", "a\\rb\\x00\\x7f\\u202e"),
        ("\udc80", "\\udc80"),
    ],
)
def test_an_error_tells_a_terminal_nothing(text: str, shown: str) -> None:
    assert printable(text) == shown
    error = FormatError(text)
    assert (error.message, str(error)) == (shown, shown)
