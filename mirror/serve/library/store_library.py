"""A Nix store as it is served: NARs are made of its files as they are asked for.

Given are the paths that generations keep, but for those that are for nobody else: a store has all
that its machine ever built or fetched. What the store says of a path becomes its narinfo, signed in
addition if there is a key; the file that it names is the uncompressed NAR. A path that is collected
while it is sent is cut short, which the client sees.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from mirror.errors import ToolError
from mirror.formats import nar
from mirror.formats.narinfo import NarInfo, print_narinfo
from mirror.formats.signing import TrustedKeys, fingerprint
from mirror.nix import file_tree
from mirror.nix.protocol import daemon
from mirror.serve.http.answers import MISSING, Answer, Made
from mirror.serve.library.cache_library import NAR_TYPE
from mirror.serve.library.given import Given
from mirror.serve.library.narinfos import narinfo_answer
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
    from pathlib import Path
    from typing import TypeVar

    from mirror.destinations import Destination
    from mirror.formats.path_info import PathInfo
    from mirror.formats.signing import SecretKey
    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix
    from mirror.nix.stores import StoreLocation
    from mirror.serve.http.answers import Refusal

    _Value = TypeVar("_Value")

_MINUTE: Final = 60.0
_NAME: Final = re.compile(r"([a-z0-9]{32})-([a-z0-9]{52})\.nar")


class StoreLibrary:
    """A Nix store; :meth:`open` makes one."""

    def __init__(
        self,
        destination: Destination,
        store: StoreLocation,
        asking: _Asking,
        signing_key: SecretKey | None,
        *,
        all_paths: bool,
    ) -> None:
        self.destination = destination
        self._store = store
        self._given = None if all_paths else Given(destination, is_eager=True)
        self._asking = asking
        self._signing_key = signing_key

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        destination: Destination,
        store: StoreLocation,
        nix: Nix,
        *,
        signing_key: SecretKey | None,
        all_paths: bool = False,
    ) -> AsyncIterator[StoreLibrary]:
        """Serve what the generations of a destination that is ``store`` give, or ``all_paths``.

        ``signing_key`` signs them where there is one.
        """
        async with _Asking(nix, store) as asking:
            yield cls(destination, store, asking, signing_key, all_paths=all_paths)

    def absence(self) -> None:
        """None: whether the store answers is seen when it is asked."""

    async def file_bytes(self) -> None:
        """None: what is sent is made of the store's files."""

    async def public_keys(self) -> tuple[str, ...]:
        """The key that signs, if there is one."""
        return () if self._signing_key is None else (str(self._signing_key.public),)

    async def infos(self, paths: Collection[StorePath]) -> Collection[PathInfo]:
        """What the store knows of paths, signed as they are given."""
        held = await self.destination.held(paths)
        return await in_thread(lambda: [self._signed(info) for info in held.values()])

    async def signatures_state(self) -> int:
        """The minute: ``nix store sign`` leaves no trace that everybody may look at."""
        return 0 if self._signing_key is not None else int(time.monotonic() // _MINUTE)

    async def narinfo(self, hash_part: str) -> Answer | Refusal:
        """What the store knows of a path."""
        info = await self._info(hash_part)
        if info is None:
            return MISSING
        info = self._signed(info)
        entry = NarInfo(
            info=info,
            url=f"nar/{hash_part}-{info.nar_hash.base32}.nar",
            compression="none",
            file_hash=info.nar_hash,
            file_size=info.nar_size,
        )
        return narinfo_answer(print_narinfo(entry))

    async def nar(self, name: str) -> Answer | Refusal:
        """A path's NAR, if it still is the one that the name was made for."""
        found = _NAME.fullmatch(name)
        info = await self._info(found[1]) if found else None
        if found is None or info is None or info.nar_hash.base32 != found[2]:
            return MISSING
        body = Made(info.nar_size, partial(_pack, self._store.real(info.path)))
        return Answer(body=body, content_type=NAR_TYPE, tag=name, is_lasting=True)

    async def unpacked(self, path: StorePath) -> Callable[[], Iterator[bytes]] | None:
        """A function that packs the path's files."""
        info = await self._info(path.hash_part)
        return None if info is None else partial(_pack, self._store.real(path))

    def _signed(self, info: PathInfo) -> PathInfo:
        """Add the mirror's signature: a client need trust no other key."""
        key = self._signing_key
        if key is None or TrustedKeys([key.public]).verify(info) is not None:
            return info
        return replace(info, signatures=(*info.signatures, key.sign(fingerprint(info))))

    async def _info(self, hash_part: str) -> PathInfo | None:
        if self._given is not None and not await self._given.is_given(hash_part):
            return None

        async def ask(connection: daemon.Connection) -> PathInfo | None:
            path = await connection.query_path_from_hash_part(hash_part)
            return None if path is None else await connection.query_path_info(path)

        return await self._asking.ask(ask)


class _Asking:
    """A connection to the store's daemon, reopened when the daemon was restarted."""

    def __init__(self, nix: Nix, store: StoreLocation) -> None:
        self._nix = nix
        self._store = store
        self._stack = contextlib.AsyncExitStack()
        self._connection: daemon.Connection | None = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def ask(self, question: Callable[[daemon.Connection], Awaitable[_Value]]) -> _Value:
        """Ask, and once more over a new connection where the old one was lost.

        Raises:
            ToolError: the store cannot be opened, or refuses to answer.

        """
        connection = await self._open()
        try:
            return await question(connection)
        except daemon.DaemonError:
            raise
        except ToolError:
            return await question(await self._open(instead_of=connection))

    async def _open(self, instead_of: daemon.Connection | None = None) -> daemon.Connection:
        async with self._opening:
            if self._connection is None or self._connection is instead_of:
                self._connection = None
                await self._stack.aclose()
                self._connection = await self._stack.enter_async_context(
                    daemon.connect(self._nix, self._store)
                )
            return self._connection


def _pack(real: Path) -> Iterator[bytes]:
    yield from nar.serialize(file_tree.tree(real))
