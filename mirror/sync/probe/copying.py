"""What a client would copy and build, with the settings that it has and with those that it lacks.

Each cache is asked for each path once, whatever the settings are, and says who signed what it has;
what Nix makes of that is decided in :mod:`mirror.planning.missing`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError, PrefetchError, SourceError
from mirror.formats.signing import PublicKey, TrustedKeys
from mirror.planning.client_settings import address
from mirror.planning.missing import Claimed, Known, Missing, Taking, missing
from mirror.planning.vouching import follows_from_its_content
from mirror.sources.caches.binary_cache import BinaryCache
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mirror.formats.narinfo import NarInfo
    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.nix.protocol.connection import Connection
    from mirror.planning.client_settings import InForce
    from mirror.planning.graph import Graph
    from mirror.sources.http.client import HttpClient
    from mirror.sync.probe.wishes import Wish

_LOOKUPS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What Nix would do for a wish now, and with the lines that are lacking, if any are."""

    wish: Wish
    now: Missing
    mended: Missing | None


@dataclass(slots=True)
class Asked:
    """Caches, what they said, and why some of them cannot be asked: those count as empty."""

    caches: dict[str, BinaryCache]
    absent: dict[str, str] = field(default_factory=dict)
    _keys: tuple[tuple[str, PublicKey], ...] = ()
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_LOOKUPS))

    @classmethod
    async def connect(
        cls,
        mirror: BinaryCache | None,
        urls: Iterable[str],
        keys: Iterable[str],
        client: HttpClient,
    ) -> Asked:
        """Connect to caches, of which the ``mirror`` is connected to; ``keys`` are looked for."""
        asked = cls(caches={} if mirror is None else {address(mirror.url): mirror})
        asked._keys = tuple(_readable(keys))

        async def one(url: str) -> None:
            try:
                asked.caches[address(url)] = await BinaryCache.connect(url, client)
            except PrefetchError as error:  # also of a kind that only Nix can use
                asked.absent[address(url)] = error.message

        known = {*asked.caches}
        by_address = {address(url): url for url in urls}
        await asyncio.gather(*(one(url) for it, url in by_address.items() if it not in known))
        return asked

    async def claims(self, path: StorePath) -> tuple[Claimed, ...]:
        """What each of the caches says of a path, those left out that lack it."""
        async with self._slots:
            found = await asyncio.gather(*(self._ask(each, path) for each in self.caches))
        return await in_thread(self._judged, [each for each in found if each is not None])

    async def _ask(self, name: str, path: StorePath) -> tuple[str, NarInfo] | None:
        try:
            narinfo = await self.caches[name].lookup(path)
        except SourceError as error:
            self.absent.setdefault(name, error.message)
            return None
        return None if narinfo is None else (name, narinfo)

    def _judged(self, found: Sequence[tuple[str, NarInfo]]) -> tuple[Claimed, ...]:
        return tuple(
            Claimed(
                cache=name,
                info=each.info,
                download_bytes=each.download_size,
                keys=frozenset(self._signers(each.info)),
                is_by_content=follows_from_its_content(each.info),
            )
            for name, each in found
        )

    def _signers(self, info: PathInfo) -> Iterable[str]:
        names = {text.partition(":")[0] for text in info.signatures}
        for text, key in self._keys:
            if key.name in names and TrustedKeys([key]).verify(info) is not None:
                yield text


async def copying(
    wishes: Sequence[Wish],
    graph: Graph,
    connection: Connection,
    asked: Asked,
    settings: Sequence[InForce],
    *,
    always_substitute: bool,
) -> list[list[Missing]]:
    """Say for each of the settings, and there for each wish, what Nix would do."""
    priorities = {name: each.priority for name, each in asked.caches.items()}
    takings = [Taking.of(each, priorities) for each in settings]
    valid: set[StorePath] = set()
    claims: dict[StorePath, tuple[Claimed, ...]] = {}
    while True:
        known = Known(valid=valid, claims=claims)
        found = [
            [
                missing([each.path], graph, known, taking, always_substitute=always_substitute)
                for each in wishes
            ]
            for taking in takings
        ]
        questions = sorted({path for row in found for each in row for path in each.questions})
        if not questions:
            return found
        valid |= await connection.query_valid_paths(questions)
        unknown = [path for path in questions if path not in valid]
        answers = await asyncio.gather(*map(asked.claims, unknown))
        claims.update(zip(unknown, answers, strict=True))


def refused_signers(outcomes: Iterable[Missing], cache: str) -> tuple[str, ...]:
    """The names of the keys that signed what is refused of a cache."""
    return tuple(
        sorted(
            {
                name
                for each in outcomes
                for claims in each.refused.values()
                for claim in claims
                if claim.cache == address(cache)
                for name in claim.signers
            }
        )
    )


def _readable(keys: Iterable[str]) -> Iterable[tuple[str, PublicKey]]:
    for text in dict.fromkeys(keys):
        try:
            yield text, PublicKey.parse(text)
        except FormatError:
            continue  # Nix complains of it itself


def by_cache(copied: Mapping[StorePath, Claimed]) -> dict[str, list[Claimed]]:
    """What would be copied, by the cache that it would come from."""
    found: dict[str, list[Claimed]] = {}
    for _, claim in sorted(copied.items()):
        found.setdefault(claim.cache, []).append(claim)
    return found
