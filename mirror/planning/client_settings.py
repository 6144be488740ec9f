"""Which of a client's settings count, and what they lack for a cache to be used. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_YES: Final = frozenset({"1", "true", "yes"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """The settings by which a Nix takes paths from caches, named as Nix names them."""

    substituters: tuple[str, ...]
    trusted_substituters: tuple[str, ...]
    trusted_public_keys: tuple[str, ...]
    require_sigs: bool
    substitute: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """The settings that count. Of ``ignored`` are the user's caches that a daemon leaves out."""

    substituters: tuple[str, ...]
    keys: tuple[str, ...]
    require_sigs: bool
    substitute: bool
    ignored: tuple[str, ...] = ()

    def place_of(self, url: str) -> int | None:
        """Which of the substituters a cache is, counted from 1; None if it is none of them."""
        wanted = address(url)
        places = (n for n, each in enumerate(self.substituters, 1) if address(each) == wanted)
        return next(places, None)

    def needs_signatures(self, url: str) -> bool:
        """Whether what comes from this cache has to be signed by one of the keys."""
        wanted = address(url)
        trusted = (is_trusted_url(each) for each in self.substituters if address(each) == wanted)
        return self.require_sigs and not any(trusted)

    def mended(self, url: str, lacking: Lacking) -> InForce:
        """The settings with what they lack for a cache."""
        return replace(
            self,
            substituters=(*self.substituters, *([url] if lacking.substituter else [])),
            keys=(*self.keys, *lacking.keys),
            substitute=True,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """What keeps a client from using a cache.

    ``substituter``: the cache is none of those in use; ``is_ignored``: because the daemon ignores
    that the user names it; ``is_overridden``: the system's settings have what is lacking, and the
    user's own replace them. ``keys`` are public keys that are not trusted; of ``signers`` only the
    names are known. ``outdated`` are the names of keys that are trusted with other bytes.
    ``substitute``: no cache is used at all.
    """

    substituter: bool = False
    is_ignored: bool = False
    is_overridden: bool = False
    keys: tuple[str, ...] = ()
    signers: tuple[str, ...] = ()
    outdated: tuple[str, ...] = ()
    substitute: bool = False

    def __bool__(self) -> bool:
        return bool(self.substituter or self.keys or self.signers or self.substitute)


def in_force(own: Configured, system: Configured | None) -> InForce:
    """The settings that count of a user's ``own``; ``system`` restricts a user who is not trusted.

    A daemon takes such a user's substituters if they are among its own, trusted or used, and its
    keys are its own. Source: Nix's ``ClientSettings::apply`` in ``src/libstore/daemon.cc``.
    """
    if system is None:
        return InForce(
            substituters=own.substituters,
            keys=own.trusted_public_keys,
            require_sigs=own.require_sigs,
            substitute=own.substitute,
        )
    allowed = {*system.substituters, *system.trusted_substituters}
    taken = {
        each: next((it for it in (each, f"{each}/") if it in allowed), None)
        for each in own.substituters
    }
    return InForce(
        substituters=tuple(each for each in taken.values() if each is not None),
        keys=system.trusted_public_keys,
        require_sigs=system.require_sigs,
        substitute=own.substitute,
        ignored=tuple(each for each, as_known in taken.items() if as_known is None),
    )


def lacking(
    url: str,
    settings: InForce,
    system: InForce,
    *,
    keys: Iterable[str] = (),
    signers: Collection[str] = (),
) -> Lacking:
    """What the settings lack for a cache that serves what ``keys`` signed.

    ``system`` are those that would count without the user's own. ``signers`` are names of keys
    whose signatures something has that would be refused.
    """
    trusted_names = {_name(each) for each in settings.keys}
    wanted = tuple(dict.fromkeys(keys)) if settings.needs_signatures(url) else ()
    missing = tuple(each for each in wanted if each not in settings.keys)
    named = {_name(each) for each in missing}
    unknown = tuple(sorted({*signers} - named)) if settings.needs_signatures(url) else ()
    is_unnamed = settings.place_of(url) is None
    return Lacking(
        substituter=is_unnamed,
        is_ignored=any(address(each) == address(url) for each in settings.ignored),
        is_overridden=(is_unnamed and system.place_of(url) is not None)
        or any(each in system.keys for each in missing),
        keys=missing,
        signers=unknown,
        outdated=tuple(sorted({*named, *unknown} & trusted_names)),
        substitute=not settings.substitute,
    )


def address(url: str) -> str:
    """A cache's URL as it is compared: without parameters, and without a slash at its end.

    >>> address("HTTP://Pi:8080/?priority=10") == address("http://pi:8080")
    True
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    bare = parts._replace(netloc=parts.netloc.lower(), query="", fragment="")
    return bare.geturl().rstrip("/")


def is_trusted_url(url: str) -> bool:
    """Whether a URL says itself that what comes from there needs no signature."""
    try:
        parameters = dict(parse_qsl(urlsplit(url).query))
    except ValueError:
        return False
    return parameters.get("trusted", "").lower() in _YES


def _name(key: str) -> str:
    return key.partition(":")[0]
