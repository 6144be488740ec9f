"""The LAN server over a real socket: whatever is sent, nothing from outside of the cache comes.

An input is what a client sends. Beside the cache lies a file that must never be seen, and the
server answers the next client whatever the last one sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rig.made_paths import generation, put, text
from rig.serving import serve_directory

from fuzz.target import Check, Target
from mirror.destinations import CacheDirectory
from mirror.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig.serving import Served

_SECRET: Final = b"what nobody may see"
_SUCCESS: Final = (b"HTTP/1.1 200", b"HTTP/1.1 206", b"HTTP/1.0 200", b"HTTP/1.0 206")
_OURS_TO_BLAME: Final = b" 500 "
_LAST: Final = b"GET /nix-cache-info HTTP/1.0\r\n\r\n"
_PATIENCE: Final = 0.5


@contextlib.contextmanager
def _checking() -> Iterator[Check]:
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner() as runner:
        top = Path(directory)
        runner.run(_fill(top / "cache"))
        for place in ("secret", "cache/secret", "cache/nar/.secret"):
            (top / place).write_bytes(_SECRET)
        serving = serve_directory(top / "cache")
        served = runner.run(serving.__aenter__())
        try:
            yield lambda data: runner.run(_say(served, data))
        finally:
            runner.run(serving.__aexit__(None, None, None))


async def _fill(cache: Path) -> None:
    async with CacheDirectory.open(cache) as directory:
        made = text("a")
        await put(directory, made)
        await directory.keep(generation([made]))


async def _say(served: Served, data: bytes) -> None:
    # What is left open is ended, and the last request has the server hang up.
    said = await _heard(served, data + b"\r\n\r\n" + _LAST, patience=_PATIENCE)
    assert _SECRET not in said
    first_line = said.partition(b"\r\n")[0]
    assert _OURS_TO_BLAME not in first_line, served.log
    assert (await _heard(served, _LAST, patience=None)).endswith(b"30\n")
    if not said.startswith(_SUCCESS):
        raise FormatError("it is refused")


async def _heard(served: Served, data: bytes, *, patience: float | None) -> bytes:
    """Send bytes; all that the server says until it hangs up, or for so many seconds."""
    reader, writer = await asyncio.open_connection(*served.address)
    said = b""
    try:
        # A server that has heard enough may hang up before it has read all.
        with contextlib.suppress(ConnectionError, TimeoutError):
            writer.write(data)
            async with asyncio.timeout(patience):
                while piece := await reader.read(1 << 16):
                    said += piece
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return said


TARGET: Final = Target(
    name="requests",
    checking=_checking,
    words=(
        *(b"GET ", b"HEAD ", b"POST ", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"\r\n", b"/secret"),
        *(b"/nar/", b"/nar/.secret", b"/../secret", b"/nar/../secret", b"%2e%2e%2f", b"%2fsecret"),
        *(b"Host: x\r\n", b"Host: <b>\r\n", b"Range: bytes=0-1\r\n", b"If-Range: ", b"\\..\\"),
        *(b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n"),
        *(b"Connection: close\r\n", b"Upgrade: websocket\r\n", b"http://x/", b"/status.json"),
        *(b"/metrics", b"/nix-cache-info", b"?", b"\0", b"\r", b"9" * 5000, b"PRI * HTTP/2.0\r\n"),
    ),
    executions=200,
)
