"""The kinds of destinations, and opening one by the name that a user gives it (``--to``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirror.destinations.cache.kind import CacheDirectories
from mirror.destinations.kind import Kind, Opening
from mirror.destinations.store.kind import NixStores
from mirror.errors import RequestError

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from mirror.destinations.destination import Destination
    from mirror.formats.signing import SecretKey

KINDS: Final[list[Kind]] = [
    NixStores(),
    CacheDirectories(),
]
"""They are asked in this order whether a name is theirs."""


def open_destination(
    to: str | None,
    *,
    exclusive: bool = True,
    must_exist: bool = False,
    signing_key: SecretKey | None = None,
    to_mend: bool = False,
    reads_contents: bool = False,
    remembers: bool = False,
) -> AbstractAsyncContextManager[Destination]:
    """Open what ``to`` names; without it, this machine's store if it has Nix.

    The options are those of :class:`.Opening`; what opening it may raise, :meth:`.Kind.open` says.

    Raises:
        RequestError: nothing that can be a destination is named so.

    """
    opening = Opening(
        exclusive=exclusive,
        must_exist=must_exist,
        signing_key=signing_key,
        to_mend=to_mend,
        reads_contents=reads_contents,
        remembers=remembers,
    )
    for kind in KINDS:
        if kind.is_meant(to):
            return kind.open(to, opening)
    *others, last = [kind.forms for kind in reversed(KINDS)]
    raise RequestError(
        f"not a destination: {to or 'an empty name'}",
        hint=f"give {', '.join(others)}, or {last}",
    )
