"""The style and the script of the status page, and the policy that lets a browser run these alone.

Both stand in the page itself, so it needs no other request. The policy names them by their hashes:
whatever else might get into a page, a browser neither runs nor loads it, nor sends a form.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib import resources


@cache
def style() -> str:
    """The style sheet."""
    return _read("page.css")


@cache
def script() -> str:
    """The script, which adds to the page what only a script can do."""
    return _read("page.js")


@cache
def policy() -> str:
    """The page's Content-Security-Policy."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(script())}",
            f"style-src {_hash(style())}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _read(name: str) -> str:
    return (resources.files("mirror.serve.status") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
