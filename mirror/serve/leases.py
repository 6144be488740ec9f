"""What clients that are in the middle of a closure may still ask for after it was pruned.

A client that was handed a narinfo goes on to ask for what it refers to. Pruning takes narinfos out
of sight first (they are *retired*), and their files away a good while later. In between a retired
narinfo is given only to whom an earlier answer led to it: who comes new is not led there any more,
so what is retired falls out of use by itself, well before it is removed.

What refers to a retired path is retired too, since whatever is kept is kept with all that it
refers to. So it is enough to look among the retired for what led to a path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

LEASE_SECONDS: Final = 20 * 60.0
"""For how long an answer can be followed up; pruning waits longer than that."""

_FEWEST: Final = 1024


class Leases:
    """Which narinfos were given when, by hash part; times are seconds of a monotonic clock."""

    def __init__(self, seconds: float = LEASE_SECONDS) -> None:
        self._seconds = seconds
        self._given: dict[str, float] = {}
        self._enough = _FEWEST

    def give(self, hash_part: str, *, now: float) -> None:
        """Remember that a narinfo that is not retired was given."""
        self._given[hash_part] = now
        if len(self._given) > self._enough:
            # In place: of many, a copy would be the most that the server ever holds.
            ended = [each for each, when in self._given.items() if now - when >= self._seconds]
            for each in ended:
                del self._given[each]
            self._enough = max(_FEWEST, 2 * len(self._given))

    def lead_to(
        self, hash_part: str, referrers: Mapping[str, Collection[str]], *, now: float
    ) -> bool:
        """Whether an answer that can still be followed up led to a retired path.

        ``referrers`` has what refers to each of the retired paths.
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
