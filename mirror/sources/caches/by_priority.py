"""The binary caches of a run, asked in the order of their priorities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.errors import SourceError, TransientError
from mirror.planning.availability import Offer
from mirror.planning.refusals import WRONG, Refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mirror.formats.store_path import StorePath
    from mirror.sources.caches.binary_cache import BinaryCache


class Caches:
    """Several caches as one; the first trustworthy answer is the offer.

    An answer that makes no sense is no offer; :attr:`failures` say why, by cache. Nor is one that
    is not believed; :attr:`refusals` say why, by path. A path that was refused so by every cache
    that has it is in :attr:`refused`. ``is_whole``: none of the caches that there are was left out.
    """

    def __init__(self, caches: Sequence[BinaryCache], *, is_whole: bool = True) -> None:
        self.is_whole = is_whole
        self.all = tuple(sorted(caches, key=lambda cache: cache.priority))
        self.failures: dict[str, str] = {}
        self.refusals: dict[StorePath, str] = {}
        self.refused: dict[StorePath, tuple[Refusal, ...]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The caches' names, first asked first."""
        return tuple(cache.name for cache in self.all)

    @property
    def urls(self) -> tuple[str, ...]:
        """Their URLs as given, for Nix. Never print them: they may contain passwords."""
        return tuple(cache.url for cache in self.all)

    def in_turn(self, offer: Offer | None = None) -> tuple[BinaryCache, ...]:
        """All of them, first asked first: before the others the one that made an ``offer``."""
        if offer is None:
            return self.all
        return tuple(sorted(self.all, key=lambda cache: cache.name != offer.source))

    async def offer(self, path: StorePath, *, is_fixed_output: bool) -> Offer | None:
        """What the first cache that has ``path`` says of it, None if none has it.

        For a fixed output no signature is needed: its content is compared with its own hash.

        Raises:
            TransientError: no cache has it, but one of them could not be asked. To take that for
                an absence would plan to build what needs no building.

        """
        unanswered: TransientError | None = None
        refused: list[Refusal] = []
        for cache in self.all:
            try:
                narinfo = await cache.lookup(path)
            except TransientError as error:
                unanswered = error
                continue
            except SourceError as error:
                refused.append(self._failed(cache, path, error.message))
                continue
            if narinfo is None:
                continue
            info = narinfo.info
            if is_fixed_output and info.references:
                # Its references are not part of what its hash decides: nobody may make them up.
                lie = f"{path} refers to {info.references[0]}; a fixed output has no references"
                refused.append(self._failed(cache, path, lie))
                continue
            objection = None if is_fixed_output else await cache.objection(info)
            if objection is None:
                self.refused.pop(path, None)
                is_signed = await cache.is_signed(info)
                return Offer(
                    source=cache.name,
                    info=info,
                    download_bytes=narinfo.download_size if is_signed else None,
                    is_signed=is_signed,
                )
            refused.append(objection)
            self.refusals.setdefault(path, f"{cache.name}: {path} is {objection.reason}")
        if unanswered is not None:
            raise TransientError(
                f"a cache no longer answers, so nothing is planned: {unanswered.message}",
                hint="run it again; what is kept stays as it is",
            ) from unanswered
        if refused:
            self.refused[path] = tuple(refused)
        return None

    def forget_recalled(self, paths: Collection[StorePath]) -> bool:
        """Forget remembered answers for ``paths``; whether there were any.

        What is remembered is signed only in part, and may not be true any more.
        """
        found = [cache.forget_recalled(paths) for cache in self.all]
        return any(found)

    def _failed(self, cache: BinaryCache, path: StorePath, problem: str) -> Refusal:
        self.failures.setdefault(cache.name, problem)
        return Refusal(path=path, cache=cache.name, reason=problem, hint=WRONG)
