"""Who meets a behaviour: curl as nixpkgs' fetchurl runs it, the newest libcurl, and our client.

The installed curl is Debian's, and older than that of nixpkgs; the newest is the library that the
client is made of, left to do all by itself.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import pycurl

from mirror.errors import SourceError
from mirror.sources.http.client import HttpClient
from mirror.sources.origins.made import download
from rig.manners.server import ScriptedServer
from rig.nixes import missing
from rig.patience import PATIENT, Pauses

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from rig.manners.behaviour import Behaviour

_TRIES: Final = 4
_LARGEST: Final = 1 << 21
"""More than any body of the tables has, in bytes."""
_PARTIAL_FILE: Final = 18
"""curl's exit code for a body that was cut."""
_TOLD: Final = ("host", "authorization", "cookie")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a behaviour: the bytes, None where there are none, and why there are none.

    ``requests`` are the targets asked for, each with what it told of whom and by whom; to ask
    again for the same is not counted.
    """

    body: bytes | None
    requests: tuple[tuple[str | None, ...], ...]
    failure: str = field(default="", compare=False)


async def with_installed_curl(behaviour: Behaviour, directory: Path) -> Outcome:
    """Ask with curl.

    The fetcher asks up to four times, with pauses of seconds; here the pauses are left out, and it
    asks again only where another answer may come: for the rest of what was cut, else for all.
    """
    program = shutil.which("curl")
    if program is None:
        missing("there is no curl: tools/install-nix tests installs it")
    file, netrc = directory / "downloaded", directory / "curl-netrc"
    async with ScriptedServer(behaviour.script, behaviour.address) as server:
        url = server.filled(behaviour.url.encode()).decode()
        words = [
            *(program, "--location", "--max-redirs", "20", "--disable-epsv"),
            *("--cookie-jar", str(directory / "cookies"), "--user-agent", "curl/7 Nixpkgs/24.11"),
            *("--continue-at", "-", "--fail", "--silent", "--show-error", "--max-time", "60"),
            *("--output", str(file), url),
        ]
        if behaviour.netrc is not None:
            netrc.write_text(behaviour.netrc)
            # Nix asks caches so: what the URL has comes first.
            words += ["--netrc-optional", "--netrc-file", str(netrc)]
        for _ in range(_TRIES):
            process = await asyncio.create_subprocess_exec(
                *words,
                env={"HOME": str(directory), "PATH": os.environ["PATH"]},
                stderr=asyncio.subprocess.PIPE,
            )
            _, errors = await process.communicate()
            if process.returncode == 0 or len(behaviour.script) == 1:
                break
            if process.returncode != _PARTIAL_FILE:
                file.unlink(missing_ok=True)
        body = None
        if process.returncode == 0:
            # Of a body without a byte, curl makes no file.
            body = file.read_bytes() if file.exists() else b""
        return Outcome(body, _told(server), errors.decode(errors="replace"))


async def with_newest_curl(behaviour: Behaviour, directory: Path) -> Outcome:
    """Ask with libcurl, as the fetcher's curl uses it."""
    received = bytearray()
    failure = ""
    async with ScriptedServer(behaviour.script, behaviour.address) as server:
        easy = _easy(behaviour, server, directory)
        easy.setopt(pycurl.WRITEFUNCTION, received.extend)
        for _ in range(_TRIES):
            easy.setopt(pycurl.RESUME_FROM_LARGE, len(received))
            try:
                await asyncio.to_thread(easy.perform)
                return Outcome(bytes(received), _told(server))
            except pycurl.error as error:
                code, failure = error.args[0], easy.errstr()
            if len(behaviour.script) == 1:
                break
            if code != pycurl.E_PARTIAL_FILE:
                received.clear()
        return Outcome(None, _told(server), failure)


async def size_with_newest_curl(behaviour: Behaviour, directory: Path) -> Outcome:
    """Ask for a size with libcurl, as the fetcher asks hashed mirrors; -1 where it is not told."""
    async with ScriptedServer(behaviour.script, behaviour.address) as server:
        easy = _easy(behaviour, server, directory)
        easy.setopt(pycurl.NOBODY, 1)
        try:
            await asyncio.to_thread(easy.perform)
        except pycurl.error:
            return Outcome(None, _told(server), easy.errstr())
        size = easy.getinfo(pycurl.CONTENT_LENGTH_DOWNLOAD_T)
        return Outcome(b"%d" % size, _told(server))


def _easy(behaviour: Behaviour, server: ScriptedServer, directory: Path) -> pycurl.Curl:
    easy = pycurl.Curl()
    for option, value in (
        (pycurl.URL, server.filled(behaviour.url.encode())),
        (pycurl.NOSIGNAL, 1),
        (pycurl.FOLLOWLOCATION, 1),
        (pycurl.MAXREDIRS, 20),
        (pycurl.FAILONERROR, 1),
        (pycurl.TIMEOUT, 60),
        (pycurl.COOKIEFILE, ""),
    ):
        easy.setopt(option, value)
    if behaviour.netrc is not None:
        netrc = directory / "newest-netrc"
        netrc.write_text(behaviour.netrc)
        easy.setopt(pycurl.NETRC, pycurl.NETRC_OPTIONAL)
        easy.setopt(pycurl.NETRC_FILE, str(netrc))
    return easy


async def with_ours(behaviour: Behaviour, directory: Path) -> Outcome:
    """Ask with the project's client, as it downloads sources."""

    async def ask(client: HttpClient, url: str) -> bytes:
        file = directory / "ours"
        await download(client, url, file)
        return file.read_bytes()

    return await _ours(behaviour, directory, ask)


async def small_with_ours(behaviour: Behaviour, directory: Path) -> Outcome:
    """Ask with the project's client, as it looks up what caches have."""
    return await _ours(behaviour, directory, partial(HttpClient.get_small, cap=_LARGEST))


async def size_with_ours(behaviour: Behaviour, directory: Path) -> Outcome:
    """Ask for a size with the project's client; -1 where it is not told."""

    async def ask(client: HttpClient, url: str) -> bytes:
        size = await client.head(url)
        return b"%d" % (-1 if size is None else size)

    return await _ours(behaviour, directory, ask)


async def _ours(
    behaviour: Behaviour, directory: Path, ask: Callable[[HttpClient, str], Awaitable[bytes]]
) -> Outcome:
    settings = PATIENT
    if behaviour.netrc is not None:
        netrc = directory / "netrc"
        netrc.write_text(behaviour.netrc)
        settings = replace(settings, netrc=netrc)
    async with (
        ScriptedServer(behaviour.script, behaviour.address) as server,
        HttpClient(settings, sleep=Pauses()) as client,
    ):
        try:
            body = await ask(client, server.filled(behaviour.url.encode()).decode())
        except SourceError as error:
            return Outcome(None, _told(server), error.message)
        return Outcome(body, _told(server))


def _told(server: ScriptedServer) -> tuple[tuple[str | None, ...], ...]:
    told = (
        (request.method, request.target, *map(request.headers.get, _TOLD))
        for request in server.requests
    )
    nameless = (
        tuple(server.nameless(each) if each else each for each in request) for request in told
    )
    return tuple(each for each, _ in itertools.groupby(nameless))
