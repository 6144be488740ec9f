"""Credentials of URLs are left out, by rule and not by a list of their names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.masking import document_without_secrets, has_secrets, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://bob:s3cret@host/x: HTTP 401", "https://…@host/x: HTTP 401"),
        ("a http://u:p@q@[::1]:8/ b http://:t@h c", "a http://…@[::1]:8/ b http://…@h c"),
        ("https://s3cret@github.com/a/b", "https://…@github.com/a/b"),
        ("https://s3cret:x-oauth-basic@github.com/a", "https://…@github.com/a"),
        ("git+ssh://git@host/x ssh://git@host/x", None),
        ("git+ssh://git:s3cret@host/x", "git+ssh://…@host/x"),
        ("http://h:80/a@b http://h:80?a=@", "http://h:80/a@b http://h:80?a=…"),
        ("git@host:who/what: mail@host", None),
        ("not a cache: bob:s3cret@host/x", "not a cache: …@host/x"),
        ("unable to download 'https://h/x?sig=s3cret': HTTP", None),
        ("github:a/b?ref=main&token=s3cret#pi", "github:a/b?ref=main&token=…#pi"),
        ("https://h/x?s3cret", "https://h/x?…"),
        ("(https://h/x?k=s3cret;z=s3cret).", "(https://h/x?k=…;z=…)."),
        ("nar/x.nar?X-Amz-Signature=s3cret", "nar/x.nar?X-Amz-Signature=…"),
        ("/etc/nixos?dir=hosts&narHash=sha256-a%2B=", None),
        ("local?root=/srv s3://bucket?endpoint=h:1&region=r", None),
        (f"/nix/store/{'0' * 32}-x.patch?id=abc", None),
        ("did you mean it? or/and?", None),
    ],
)
def test_what_may_be_a_credential_is_left_out(text: str, shown: str | None) -> None:
    if shown is None and "s3cret" in text:
        shown = text.replace("s3cret", "…")
    assert without_secrets(text) == (shown or text)
    assert has_secrets(text) == (shown not in {None, text})


def test_documents_are_masked_to_the_last_string() -> None:
    document = {"a": ["https://u:s3cret@h", {"https://h?t=s3cret": None}], "n": 1, "t": ("x",)}
    masked = document_without_secrets(document)
    assert masked == {"a": ["https://…@h", {"https://h?t=…": None}], "n": 1, "t": ["x"]}


@given(st.text(alphabet=":/?@&=# ab'"))
def test_masking_twice_is_masking_once(text: str) -> None:
    assert without_secrets(without_secrets(text)) == without_secrets(text)


def test_a_long_text_takes_no_long_time() -> None:
    """Each of these takes minutes where a pattern is tried from every place to the end."""
    for part in ("a", "a.", "://", "?", "://@", "a:?"):
        without_secrets(part * 200_000 + "?@")
