"""What libcurl says went wrong."""

from __future__ import annotations

from typing import Final

import httpx

NOT_FOLLOWED: Final = -1
"""Of a redirect to where nobody is to be led: no error of libcurl's."""


class CurlError(httpx.TransportError):
    """A transfer failed: ``code`` is libcurl's, ``url`` the last URL that was requested."""

    def __init__(self, code: int, words: str, url: str) -> None:
        super().__init__(words)
        self.code = code
        self.url = url
