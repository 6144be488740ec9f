"""Which retired narinfos were served recently, and where they lead (:mod:`.retired`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

LEASE_SECONDS: Final = 20 * 60.0
"""For how long an answer can be followed up; pruning waits for more than twice as long."""

_FEWEST: Final = 1024


class Leases:
    """When retired narinfos were served, by hash part; times are of a monotonic clock."""

    def __init__(self, seconds: float = LEASE_SECONDS) -> None:
        self._seconds = seconds
        self._given: dict[str, float] = {}
        self._enough = _FEWEST

    def give(self, hash_part: str, *, now: float) -> None:
        """Remember that a narinfo was served."""
        self._given[hash_part] = now
        if len(self._given) > self._enough:
            # In place: of many, a copy would be the most that the server ever holds.
            ended = [each for each, when in self._given.items() if now - when >= self._seconds]
            for each in ended:
                del self._given[each]
            self._enough = max(_FEWEST, 2 * len(self._given))

    def has_any(self, *, now: float) -> bool:
        """Whether any lease is still running."""
        return any(now - when < self._seconds for when in self._given.values())

    def lead_to(
        self, hash_part: str, referrers: Mapping[str, Collection[str]], *, now: float
    ) -> bool:
        """Whether an answer that can still be followed up led to a retired path.

        ``referrers`` has what leads to each of the retired paths.
        """
        unseen, seen = [hash_part], {hash_part}
        while unseen:
            each = unseen.pop()
            given = self._given.get(each)
            if given is not None and now - given < self._seconds:
                return True
            further = [other for other in referrers.get(each, ()) if other not in seen]
            seen.update(further)
            unseen += further
        return False
