"""The server itself: it listens, hands requests to the application, and stops in order."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import math
import os
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from mirror.errors import PrefetchError, RequestError, ToolError
from mirror.serve.http.answers import Refusal
from mirror.serve.http.routes import kind_of, route
from mirror.serve.http.sending import CutShortError, send

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from mirror.serve.http.application import Application
    from mirror.serve.http.routes import Route
    from mirror.serve.status.metrics import Counters

DEFAULT_PORT: Final = 8080
STOP_SECONDS: Final = 60.0
"""How long what is in flight may take to its end when the server is stopped."""

_KEEP_ALIVE_SECONDS: Final = 75.0
_BACKLOG: Final = 512
_PORT: Final = re.compile(r"[0-9]{1,5}")
_HIGHEST_PORT: Final = 65535
_LONGEST_LOGGED: Final = 200
_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_SAID_SECONDS: Final = 60.0
_TAKING: Final = "_start_serving"
"""The event loop's own function that takes connections again; a closed socket has no number."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: ``host`` None is every interface, ``port`` 0 any that is free."""

    host: str | None
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``HOST:PORT``, ``[IPV6]:PORT``, ``:PORT`` (every interface) or ``HOST``.

        Raises:
            RequestError: it is none of these.

        """
        if _PORT.fullmatch(text):
            raise RequestError(
                f"not an address to listen on: {text!r} is a port alone",
                hint=f":{text} for every interface, or 127.0.0.1:{text} for this machine only",
            )
        host, colon, port = text.rpartition(":")
        if not colon or (":" in host and not host.startswith("[")) or text.endswith("]"):
            host, port = text, str(DEFAULT_PORT)
        host = host.removeprefix("[").removesuffix("]")
        is_nowhere = not host and not text.startswith(":")
        if is_nowhere or not _PORT.fullmatch(port) or int(port) > _HIGHEST_PORT or "/" in host:
            raise RequestError(
                f"not an address to listen on: {text!r}",
                hint="HOST:PORT, such as 192.168.1.2:8080, or :8080 for every interface",
            )
        return cls(host or None, int(port))


class Server:
    """A server that listens; :func:`listen` makes one. ``urls`` are where it can be reached."""

    def __init__(self, runner: web.ServerRunner, urls: Sequence[str]) -> None:
        self.urls = tuple(urls)
        self._runner = runner

    async def stop(self) -> None:
        """Take no more requests, finish what is in flight, for :data:`STOP_SECONDS` at most."""
        await self._runner.cleanup()


@contextlib.asynccontextmanager
async def listen(
    application: Application,
    counters: Counters,
    *,
    addresses: Sequence[Address],
    sockets: Sequence[socket.socket],
    log: Callable[[str], None],
) -> AsyncIterator[Server]:
    """Serve at the addresses and on the sockets until the context is left.

    ``log`` is told, a line each, of what was refused or went wrong.

    Raises:
        ToolError: an address cannot be listened at.

    """
    handler = _Handler(application, counters, log)
    logger = logging.Logger("prefetch.serve", logging.DEBUG)  # noqa: LOG001 - of this server alone
    logger.addHandler(_Lines(log))
    server = web.Server(
        handler.handle,
        access_log=None,
        logger=logger,
        keepalive_timeout=_KEEP_ALIVE_SECONDS,
        auto_decompress=False,
    )
    # It waits for so long twice: before it cancels what a client sends, and before all else.
    runner = web.ServerRunner(server, shutdown_timeout=STOP_SECONDS / 2)
    asyncio.get_running_loop().set_exception_handler(_LoopErrors(log))
    await runner.setup()
    try:
        for each in sockets:
            await web.SockSite(runner, each, backlog=_BACKLOG).start()
        for address in addresses:
            try:
                await web.TCPSite(runner, address.host, address.port, backlog=_BACKLOG).start()
            except (OSError, UnicodeError) as error:  # a name that no host can have
                raise ToolError(
                    f"cannot listen on {address.host or '*'}:{address.port}: {_reason(error)}",
                    hint="is another program there? --listen HOST:PORT names another address",
                ) from error
        # The addresses of a name come in any order.
        yield Server(runner, sorted(_url(each) for each in runner.addresses))
    finally:
        # The loop's handler stays: what the loop puts off by a second can come after this.
        await runner.cleanup()


class _Nobody(web.Response):
    """The response when the client is gone."""

    async def prepare(self, request: web.BaseRequest) -> None:  # noqa: ARG002 - as overridden
        """Let the connection end.

        Raises:
            ConnectionResetError: always.

        """
        raise ConnectionResetError


class _Handler:
    """Handles each request; no error in a request ends the server."""

    def __init__(
        self, application: Application, counters: Counters, log: Callable[[str], None]
    ) -> None:
        self._application = application
        self._counters = counters
        self._log = log

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        asked = route(request.raw_path)
        self._counters.in_flight += 1
        try:
            response, refusal = await self._respond(request, asked)
        except CutShortError as error:
            self._tell(request, f"cut off: {error}")
            if request.transport is not None:
                request.transport.abort()
            return _Nobody()
        except ConnectionError:
            return _Nobody()
        finally:
            self._counters.in_flight -= 1
        if refusal is not None and refusal.is_notable:
            self._tell(request, f"{refusal.status.value} {refusal.reason}")
        self._counters.requests[kind_of(asked), response.status] += 1
        if request.method != "HEAD":
            self._counters.sent_bytes += response.content_length or 0
        return response

    async def _respond(
        self, request: web.BaseRequest, asked: Route | None
    ) -> tuple[web.StreamResponse, Refusal | None]:
        try:
            answer = await self._application.answer(
                request.method,
                request.raw_path,
                asked,
                host=request.headers.get("Host"),
                ranges=request.headers.get("Range"),
            )
        except PrefetchError as error:
            answer = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, error.message, is_notable=True)
        return await send(request, answer)

    def _tell(self, request: web.BaseRequest, text: str) -> None:
        # What a client adds to an address, such as a token of its own, is not the log's business.
        asked = f"{request.method} {request.raw_path.partition('?')[0]}"
        self._log(f"{request.remote}: {_printable(asked)}: {text}")


class _Lines(logging.Handler):
    """Logs messages of the HTTP library, such as about unreadable requests, a line each."""

    def __init__(self, log: Callable[[str], None]) -> None:
        super().__init__()
        self._write = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record without its traceback."""
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f": {type(record.exc_info[1]).__name__} {record.exc_info[1]}"
        self._write(_printable(" ".join(text.split())))


class _LoopErrors:
    """Logs errors outside of any request, a line each.

    That no connection can be taken, since none of the files that may be open is left, is tried
    again by the event loop hundreds of times a second, and said once a minute. Each of these tries
    comes a second later, perhaps after the server has stopped: there is nothing to be said of that.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self._write = log
        self._said = -math.inf

    def __call__(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, ValueError) and _TAKING in context["message"]:
            return
        if isinstance(error, OSError) and error.errno in _EXHAUSTED:
            if loop.time() - self._said < _SAID_SECONDS:
                return
            self._said = loop.time()
            text = f"no more connections can be accepted for now: {error.strerror}"
        else:
            text = str(context["message"])
            if error is not None:
                text += f": {type(error).__name__} {error}"
        self._write(_printable(" ".join(text.split())))


def _printable(text: str) -> str:
    """Escape a client's text, so that it cannot add log lines or control a terminal."""
    shown = text if len(text) <= _LONGEST_LOGGED else f"{text[:_LONGEST_LOGGED]}…"
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in shown)


def _url(address: object) -> str:
    match address:
        case (str() as host, int() as port, *_):
            shown = f"[{host}]" if ":" in host else host
            return f"http://{shown}:{port}/"
        case _:
            return str(address)


def _reason(error: OSError | UnicodeError) -> str:
    """Why listening failed; asyncio's own message would repeat the address."""
    if not isinstance(error, OSError):
        return str(error)
    # Of a name that is not found it is negative, and none of the system's.
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)
