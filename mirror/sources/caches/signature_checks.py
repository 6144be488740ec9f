"""Signatures checked in a thread, all that are waiting in one batch.

Checking a signature takes a fifth of the time of a narinfo, nearly all of it in a library that
releases the interpreter lock, so that more narinfos can be fetched meanwhile. A thread switch for
each signature would cost as much as that saves.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from mirror.formats.path_info import PathInfo
    from mirror.formats.signing import PublicKey, TrustedKeys


class SignatureChecks:
    """Checks by ``keys``; for use within one event loop."""

    def __init__(self, keys: TrustedKeys) -> None:
        self.keys = keys
        self._batch: list[PathInfo] = []
        self._checked: asyncio.Task[list[PublicKey | None]] | None = None
        """What will come of the batch, as long as that takes more."""
        self._turn = asyncio.Lock()

    async def signer(self, info: PathInfo) -> PublicKey | None:
        """The first of the keys whose signature of ``info`` verifies, None if none does."""
        if not info.signatures:
            return None
        if self._checked is None:
            self._batch = []
            self._checked = asyncio.create_task(self._check(self._batch))
        number = len(self._batch)
        self._batch.append(info)
        # Others wait for it, too, when this one is cancelled.
        return (await asyncio.shield(self._checked))[number]

    async def _check(self, batch: list[PathInfo]) -> list[PublicKey | None]:
        async with self._turn:
            self._checked = None
            return await in_thread(lambda: list(map(self.keys.verify, batch)))
