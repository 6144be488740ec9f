"""The worker protocol: what a daemon answers, whatever comes over its socket.

An input is all that the daemon ever says, from its greeting on.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from typing import TYPE_CHECKING, Final, cast

from fuzz.target import Check, Target
from mirror.errors import ToolError
from mirror.formats.store_path import StorePath, is_store_path
from mirror.nix.protocol import wire
from mirror.nix.protocol.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATH: Final = StorePath.parse(f"/nix/store/{'0' * 32}-x")


class _Nowhere:
    """What is said to the daemon, which does not listen."""

    def write(self, data: bytes) -> None:
        """Forget it."""

    async def drain(self) -> None:
        """Nothing waits."""


@contextlib.contextmanager
def _checking() -> Iterator[Check]:
    with asyncio.Runner() as runner:
        yield lambda data: runner.run(_converse(data))


async def _converse(data: bytes) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    connection = Connection(reader, cast("asyncio.StreamWriter", _Nowhere()))
    await connection.greet()
    valid = await connection.query_valid_paths([_PATH])
    assert all(is_store_path(path) for path in valid)
    info = await connection.query_path_info(_PATH)
    if info is not None:
        assert all(is_store_path(path) for path in info.references)
    await connection.query_path_from_hash_part(_PATH.hash_part)


TARGET: Final = Target(
    name="wire",
    checking=_checking,
    refusals=(ToolError,),
    words=(
        *(struct.pack("<Q", frame) for frame in wire.Frame),
        *(struct.pack("<Q", number) for number in (0, 1, 2, 0x125, 0x126, wire.SERVER_HELLO)),
        *(wire.string(_PATH), wire.string("x"), wire.string(""), wire.strings([_PATH, "x"])),
    ),
)
