from __future__ import annotations

import pytest

from mirror.errors import FormatError, printable, without_passwords


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://bob:s3cret@host/x: HTTP 401", "https://bob:…@host/x: HTTP 401"),
        ("a http://u:p@q@[::1]:8/ b http://:t@h c", "a http://u:…@[::1]:8/ b http://:…@h c"),
        ("http://bob@host/ http://h:80/a@b http://h:80?a=@", None),
        ("git@host:who/what: mail@host", None),
    ],
)
def test_an_error_tells_nobody_a_password(text: str, shown: str | None) -> None:
    assert without_passwords(text) == (shown or text)
    assert FormatError(text).message == (shown or text)
