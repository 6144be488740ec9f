"""How patient and how greedy a transport is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mirror.trust import Certificates


@dataclass(frozen=True, slots=True, kw_only=True)
class CurlSettings:
    """Settings for all requests of a transport.

    ``connections_per_host`` are open at once; ``connect_seconds`` bounds the wait for a connection,
    ``answer_seconds`` that for the whole head of an answer; a download slower than
    ``least_bytes_per_second`` over ``speed_seconds`` is given up. ``netrc`` is a file of
    credentials, ``certificates`` are those that count. ``is_public`` says which IP addresses are of
    the public internet.
    """

    is_public: Callable[[str], bool]
    connections_per_host: int = 16
    connect_seconds: float = 10
    answer_seconds: float = 60
    least_bytes_per_second: float = 1000
    speed_seconds: float = 30
    redirects: int = 20
    netrc: Path | None = None
    certificates: Certificates | None = None
