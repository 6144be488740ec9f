"""How patient and how greedy the client is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.curl.settings import CurlSettings
from mirror.sources.addresses import is_public

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings(CurlSettings):
    """The transport's settings, and how often it is asked.

    A request is made ``attempts`` times, with pauses that double from ``first_pause`` to
    ``longest_pause`` seconds; a server that asks for more than ``longest_retry_after`` has failed.
    Where no certificates are named the machine's count.
    """

    is_public: Callable[[str], bool] = is_public
    attempts: int = 5
    first_pause: float = 0.5
    longest_pause: float = 30
    longest_retry_after: float = 120
