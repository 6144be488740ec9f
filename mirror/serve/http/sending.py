"""Sending an answer: conditions, ranges, and content from memory, from a file, or made on the way.

Content never ends early without the client seeing it: its length is announced, and where it cannot
be given to its end the connection is cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Final

from aiohttp import web

from mirror.errors import FormatError
from mirror.serve.http.answers import (
    MISSING,
    Answer,
    InFile,
    InMemory,
    Made,
    Part,
    Refusal,
    matches,
    part,
)
from mirror.system.plain_files import open_to_read
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ALWAYS: Final = {"Server": "prefetch", "X-Content-Type-Options": "nosniff"}
_LASTING: Final = "public, max-age=31536000, immutable"
_SMALL: Final = 1 << 16
"""Up to this size a file is read and sent with its headers, in one go."""


class CutShortError(Exception):
    """Content could not be sent to its end; the connection is cut."""


@dataclass(frozen=True, slots=True)
class _Head:
    """The head of a response."""

    status: HTTPStatus
    headers: Mapping[str, str]


async def send(
    request: web.BaseRequest, answer: Answer | Refusal
) -> tuple[web.StreamResponse, Refusal | None]:
    """Send an answer; what is returned with the response is why it was none.

    Raises:
        CutShortError: it broke off; the text says why.
        ConnectionError: the client has gone.

    """
    if isinstance(answer, Refusal):
        return _refused(answer), answer
    if matches(request.headers.get("If-None-Match"), answer.tag):
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=_headers(answer)), None
    match answer.body:
        case InMemory(data):
            span = _span(request, answer, len(data))
            if not isinstance(span, Part):
                return span, None
            return _whole(data[span.start : span.end], _head(answer, span, len(data))), None
        case InFile() as file:
            return await _send_file(request, answer, file)
        case Made() as made:
            return await _send_made(request, answer, made), None


async def _send_file(
    request: web.BaseRequest, answer: Answer, wanted: InFile
) -> tuple[web.StreamResponse, Refusal | None]:
    opened = _open(wanted)
    if isinstance(opened, Refusal):
        return _refused(opened), opened
    file, size = opened
    with file:
        span = _span(request, answer, size)
        if not isinstance(span, Part):
            return span, None
        count = span.end - span.start
        head = _head(answer, span, size)
        if count <= _SMALL and request.method != "HEAD":
            try:
                data = await _read(file.fileno(), span)
            except OSError as error:
                refusal = _unreadable(f"{wanted.path.name} cannot be read: {error.strerror}")
                return _refused(refusal), refusal
            if len(data) != count:
                raise CutShortError(f"{wanted.path} was cut short while it was sent")
            return _whole(data, head), None
        response = await _begin(request, head, count)
        if request.method != "HEAD":
            sent = await _send_content(request, file, span)
            if sent != count:
                raise CutShortError(f"{wanted.path} was cut short while it was sent")
        await response.write_eof()
        return response, None


async def _read(descriptor: int, span: Part) -> bytes | bytearray:
    """Read a small part of a file: at once if it is in memory, else in a thread.

    A thread takes longer than what is in memory takes to be copied; a disk may take longest of all.
    """
    count = span.end - span.start
    data = bytearray(count)
    # It is an error where the kernel would have to wait, or does not know whether it would.
    with contextlib.suppress(OSError):
        if os.preadv(descriptor, [data], span.start, os.RWF_NOWAIT) == count:
            return data
    return await in_thread(os.pread, descriptor, count, span.start)


async def _send_content(request: web.BaseRequest, file: IO[bytes], span: Part) -> int:
    """Have the kernel send a part of a file; returns the number of bytes sent."""
    transport = request.transport
    if transport is None:
        raise ConnectionResetError
    loop = asyncio.get_running_loop()
    try:
        return await loop.sendfile(transport, file, span.start, span.end - span.start)
    except ConnectionError:
        raise
    except (RuntimeError, TimeoutError) as error:  # it is closing; the client is not there any more
        raise ConnectionResetError from error
    except OSError as error:
        raise CutShortError(f"it broke off: {error.strerror or error}") from error


async def _send_made(request: web.BaseRequest, answer: Answer, made: Made) -> web.StreamResponse:
    span = _span(request, answer, made.size)
    if not isinstance(span, Part):
        return span
    response = await _begin(request, _head(answer, span, made.size), span.end - span.start)
    if request.method != "HEAD":
        pieces = made.pieces()
        try:
            await _write_part(response, pieces, span, made.size)
        finally:
            await in_thread(_close, pieces)
    await response.write_eof()
    return response


async def _write_part(
    response: web.StreamResponse, pieces: Iterator[bytes], span: Part, size: int
) -> None:
    position = 0
    try:
        while position < span.end and (piece := await in_thread(next, pieces, None)) is not None:
            wanted = piece[max(0, span.start - position) : max(0, span.end - position)]
            position += len(piece)
            if wanted:
                await response.write(wanted)
    except ConnectionError:
        raise
    except (OSError, FormatError) as error:
        raise CutShortError(
            f"it broke off after {position:,} bytes of {size:,}: {error}"
        ) from error
    if position < span.end:
        raise CutShortError(f"it ended after {position:,} bytes, not {size:,}")


async def _begin(request: web.BaseRequest, head: _Head, count: int) -> web.StreamResponse:
    response = web.StreamResponse(status=head.status, headers=head.headers)
    response.content_length = count
    await response.prepare(request)
    return response


def _whole(data: bytes | bytearray, head: _Head) -> web.Response:
    return web.Response(body=data, status=head.status, headers=head.headers)


def _open(wanted: InFile) -> tuple[IO[bytes], int] | Refusal:
    """Open a file that is no link and has the size that it should have.

    On the event loop, as narinfos are: nothing of it is read yet.
    """
    try:
        descriptor = open_to_read(wanted.path, follows_links=False)
    except FileNotFoundError:
        return MISSING
    except OSError as error:
        return _unreadable(f"{wanted.path.name} cannot be read: {error.strerror}")
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(os.fdopen(descriptor, "rb", buffering=0))
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return _unreadable(f"{wanted.path.name} is not a file")
        if wanted.size not in {None, status.st_size}:
            return _unreadable(
                f"{wanted.path.name} is damaged: it has {status.st_size:,} bytes, "
                f"not {wanted.size:,}"
            )
        stack.pop_all()
        return file, status.st_size


def _unreadable(reason: str) -> Refusal:
    return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, reason, is_notable=True)


def _span(request: web.BaseRequest, answer: Answer, size: int) -> Part | web.Response:
    """The requested part, or the answer that there is no such part."""
    span = part(
        # Of other methods than GET it means nothing (RFC 9110, section 14.2).
        request.headers.get("Range") if request.method == "GET" else None,
        size=size,
        if_range=request.headers.get("If-Range"),
        tag=answer.tag,
    )
    if span == "unsatisfiable":
        headers = {**_headers(answer), "Content-Range": f"bytes */{size}"}
        return web.Response(status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=headers)
    return Part(0, size) if span == "whole" else span


def _head(answer: Answer, span: Part, size: int) -> _Head:
    headers = _headers(answer)
    if (span.start, span.end) == (0, size):
        return _Head(HTTPStatus.OK, headers)
    headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{size}"
    return _Head(HTTPStatus.PARTIAL_CONTENT, headers)


def _headers(answer: Answer) -> dict[str, str]:
    return {
        **_ALWAYS,
        "Content-Type": answer.content_type,
        "Accept-Ranges": "bytes",
        "ETag": f'"{answer.tag}"',
        "Cache-Control": _LASTING if answer.is_lasting else "no-cache",
        **({"Content-Security-Policy": answer.policy} if answer.policy else {}),
    }


def _refused(refusal: Refusal) -> web.Response:
    headers = {**_ALWAYS, "Content-Type": "text/plain; charset=utf-8"}
    if refusal.status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = "GET, HEAD"
    return web.Response(status=refusal.status, body=f"{refusal.reason}\n".encode(), headers=headers)


def _close(pieces: Iterator[bytes]) -> None:
    close = getattr(pieces, "close", None)
    if close is not None:
        close()
