"""What a sync is asked for besides its targets and its destination."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOptions:
    """How a sync is to go about it.

    - ``jobs``: how many paths are obtained at once;
    - ``keep_going``: obtain the others after one that cannot be obtained;
    - ``build``: build what no cache has, and keep the outputs;
    - ``refresh``: first update what the targets are evaluated from;
    - ``ask_upstream``: find out of what is kept whether anybody upstream still has it.
    """

    jobs: int
    keep_going: bool = False
    build: bool = False
    refresh: bool = False
    ask_upstream: bool = False
