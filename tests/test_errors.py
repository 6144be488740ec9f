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


def test_an_error_and_its_hint_tell_nobody_a_password() -> None:
    error = FormatError("https://bob:s3cret@host/x?token=s3cret: HTTP 401", hint="u://a:s3cret@b")
    assert error.message == str(error) == "https://…@host/x?token=…: HTTP 401"
    assert error.hint == "u://…@b"
