"""Asking a cache what it is, and whose signatures its clients need."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from mirror.destinations.registry import open_destination
from mirror.errors import FormatError, PrefetchError, SourceError, TransientError
from mirror.formats.narinfo import parse_narinfo
from mirror.formats.signing import PublicKey
from mirror.planning.client_settings import address
from mirror.sources.caches.binary_cache import BinaryCache
from mirror.sync.kept.clients import vouching_of
from mirror.system.plain_files import read_plain_file
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.errors import DestinationError
    from mirror.sources.http.client import HttpClient

_STATUS: Final = "status.json"
_STATUS_CAP: Final = 1 << 24
_NARINFOS_READ: Final = 500
_FILE: Final = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """What a cache is found to be; ``cache`` is None where it is none, for the ``problem``.

    ``is_away``: it did not answer, so nothing is known of it. ``keys`` are the public keys that
    those of its clients need who trust what Nix is shipped with; of ``signers``, who signed what it
    has, only the names are known. Both are None where it does not say.
    """

    cache: BinaryCache | None
    problem: str | None = None
    is_away: bool = False
    keys: tuple[str, ...] | None = None
    signers: tuple[str, ...] | None = None


async def reach(url: str, client: HttpClient) -> Reached:
    """Ask the cache at a URL what it is.

    Raises:
        RequestError: it is not the URL of a cache.

    """
    try:
        cache = await BinaryCache.connect(url, client)
    except SourceError as error:
        is_away = isinstance(error, TransientError)
        return Reached(cache=None, problem=error.message, is_away=is_away)
    parts = urlsplit(url)
    if parts.scheme == _FILE:
        directory = Path(unquote(parts.path))
        keys = await _keys_kept(directory)
        signers = None if keys is not None else await in_thread(_signers, directory)
        return Reached(cache=cache, keys=keys, signers=signers)
    return Reached(cache=cache, keys=await _keys_told(url, client))


async def _keys_told(url: str, client: HttpClient) -> tuple[str, ...] | None:
    """The keys that a server of prefetch's tells its clients; None from any other server."""
    try:
        told = json.loads(await client.get_small(f"{address(url)}/{_STATUS}", cap=_STATUS_CAP))
        return _readable(told["client"]["keys"])
    except (SourceError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _readable(keys: Iterable[str]) -> tuple[str, ...]:
    """The keys, unless one of them is none: they are printed as lines to paste.

    Raises:
        ValueError: one is none.

    """
    keys = tuple(keys)
    if not all(isinstance(each, str) for each in keys):
        raise ValueError("not texts")
    try:
        return tuple(str(PublicKey.parse(each)) for each in keys)
    except FormatError as error:
        raise ValueError(error.message) from error


async def _keys_kept(directory: Path) -> tuple[str, ...] | None:
    """The same of a directory that prefetch made; None of any other."""
    unreadable: list[DestinationError] = []  # of interest to whoever keeps the directory
    with contextlib.suppress(PrefetchError, OSError):
        async with open_destination(str(directory), must_exist=True, exclusive=False) as kept:
            generations = await kept.generations(unreadable.append)
            found = await vouching_of(generations, kept, unreadable.append)
        if generations:
            return tuple(sorted({str(k) for each in found.values() for k in each.client_keys()}))
    return None


def _signers(directory: Path) -> tuple[str, ...] | None:
    """Who signed what a directory has, as far as some of its files say."""
    names: set[str] = set()
    with contextlib.suppress(OSError):
        for _, file in zip(range(_NARINFOS_READ), directory.glob("*.narinfo"), strict=False):
            with contextlib.suppress(FormatError):
                info = parse_narinfo(read_plain_file(file)).info
                names |= {text.partition(":")[0] for text in info.signatures}
        return tuple(sorted(names))
    return None
