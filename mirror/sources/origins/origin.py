"""Origins: a fixed output from where upstream publishes it, without running its builder.

Whatever arrives is accepted on its hash alone, so trying is safe: a plain file, an executable file,
a NAR, an archive's tree, a normalised
patch, a git revision. Each URL is tried in turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from functools import partial
from typing import TYPE_CHECKING, Final

from mirror.errors import IntegrityError, NotAvailableError, SourceError
from mirror.planning.fetchers.fixed_outputs import (
    BuilderOnly,
    Download,
    GitCheckout,
    Patch,
    RestoreNar,
    Unfetchable,
    Unpack,
)
from mirror.sources import git
from mirror.sources.archives.tree import Limits
from mirror.sources.archives.unpack import strip_root, undo_compression, unpack
from mirror.sources.origins.made import Made, download, first_good, offered, scratch
from mirror.sources.origins.patching import normalised_file
from mirror.sources.patches.normalise import MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mirror.planning.fetchers.fixed_outputs import FixedOutput
    from mirror.sources.http.client import HttpClient
    from mirror.sources.source import Nar, Wanted

NAME: Final = "origin"

_Native = Download | RestoreNar | Unpack | Patch | GitCheckout


class Origins:
    """The origins of all fixed outputs.

    ``scratch`` is a directory for what is being downloaded. Git is given the client's netrc file.
    """

    def __init__(
        self,
        client: HttpClient,
        scratch: Path,
        *,
        limits: Limits | None = None,
    ) -> None:
        self._client = client
        self._scratch = scratch
        self._limits = limits or Limits()

    @property
    def name(self) -> str:
        """``origin``, for all of them."""
        return NAME

    @property
    def is_one_party(self) -> bool:
        """False: each URL may be another server's."""
        return False

    @contextlib.asynccontextmanager
    async def open(self, wanted: Wanted) -> AsyncIterator[Nar]:
        """Obtain a fixed output, hash it, and offer its NAR.

        Raises:
            SourceError: no URL has it; ``attempts`` has each with its reason.
            DestinationError: the scratch directory cannot be used.

        """
        fixed = wanted.fixed_output
        if fixed is None:
            raise NotAvailableError(f"{wanted.path} is not a fixed output: it has no origin")
        origin = fixed.origin
        if isinstance(origin, Unfetchable):
            raise NotAvailableError(origin.reason)
        if not isinstance(origin, BuilderOnly):
            async with scratch(self._scratch) as directory:
                attempt = partial(self._attempt, origin, fixed, directory)
                yield await first_good(
                    origin.urls,
                    attempt,
                    otherwise="no URL has it",
                    whoever_answers=partial(attempt, any_certificate=True),
                )
        elif origin.attempt is not None:
            async with scratch(self._scratch) as directory:
                attempt = partial(self._long_shot, origin.attempt, origin.reason, fixed, directory)
                otherwise = f"only its builder may be able to make it, as {origin.reason}"
                yield await first_good(origin.attempt.urls, attempt, otherwise=otherwise)
        else:
            raise NotAvailableError(f"only its builder can make it: {origin.reason}")

    async def _long_shot(
        self, origin: _Native, reason: str, fixed: FixedOutput, parent: Path, url: str
    ) -> Nar:
        """Try a native way that may work without the builder; a failure is no server's fault."""
        try:
            return await self._attempt(origin, fixed, parent, url)
        except IntegrityError as error:
            raise NotAvailableError(f"{url}: needs its builder: {reason}") from error

    async def _attempt(
        self,
        origin: _Native,
        fixed: FixedOutput,
        parent: Path,
        url: str,
        *,
        any_certificate: bool = False,
    ) -> Nar:
        """Obtain it from ``url``; what arrives stays on disk if it is right."""
        directory = parent / "attempt"
        await asyncio.to_thread(directory.mkdir)
        try:
            if isinstance(origin, GitCheckout):
                return await self._check_out(origin, fixed, directory, url)
            file = directory / "download"
            cap = self._limits.size
            if isinstance(origin, Patch):
                cap = min(cap, MOST_BYTES)
            await download(self._client, url, file, cap=cap, any_certificate=any_certificate)
            return await self._made_of(file, origin, fixed, url)
        except SourceError:
            await asyncio.to_thread(shutil.rmtree, directory)
            raise

    async def _check_out(
        self, origin: GitCheckout, fixed: FixedOutput, directory: Path, url: str
    ) -> Nar:
        tree = await git.checkout(
            origin, directory, self._client.settings, size_limit=self._limits.size
        )
        return await offered(Made.of_node(tree), fixed, url)

    async def _made_of(
        self,
        file: Path,
        origin: Download | RestoreNar | Unpack | Patch,
        fixed: FixedOutput,
        url: str,
    ) -> Nar:
        directory = file.parent
        if isinstance(origin, Unpack):
            try:
                tree = await unpack(file, directory, self._limits)
                tree = strip_root(tree) if origin.strip_root else tree
            except IntegrityError as error:
                raise IntegrityError(f"{url}: {error.message}") from error
            return await offered(Made.of_node(tree), fixed, url)
        try:
            return await offered(await _made(file, origin), fixed, url)
        except IntegrityError as error:
            # A NAR may come compressed, and a server may have compressed what it sends (curl as
            # the fetchers run it keeps that, Nix's own downloader undoes it): the hash decides.
            inner = directory / "inner"
            with contextlib.suppress(IntegrityError):
                cap = self._limits.of((await asyncio.to_thread(file.stat)).st_size).size
                if await undo_compression(file, inner, cap=cap):
                    return await offered(await _made(inner, origin), fixed, url)
            raise error from None


async def _made(file: Path, origin: Download | RestoreNar | Patch) -> Made:
    if isinstance(origin, RestoreNar):
        return Made.of_nar(file)
    if isinstance(origin, Patch):
        return Made.of_file(await normalised_file(file, origin.options), executable=False)
    return Made.of_file(file, executable=origin.executable)
