"""From a request to its answer: what is asked for, and what the library has of it."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from mirror.errors import DestinationError, FormatError
from mirror.formats.cache_info import CacheInfo, print_cache_info
from mirror.serve.http.answers import MISSING, Answer, Made, Refusal, text_answer
from mirror.serve.http.routes import (
    FileOf,
    InputArchive,
    NarFile,
    NarInfoOf,
    Page,
    is_suspicious,
)
from mirror.serve.library.nar_contents import archive_pieces, archive_size, file_pieces, file_size
from mirror.serve.status import assets, metrics, page, status
from mirror.serve.status.client_setup import Client
from mirror.serve.status.overview import Overviews
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mirror.formats.hashes import Hash
    from mirror.formats.store_path import StorePath
    from mirror.serve.http.routes import Route
    from mirror.serve.library.library import Library
    from mirror.serve.status.metrics import Counters

_READ_METHODS: Final = {"GET", "HEAD"}
_AUTHORITY: Final = re.compile(
    r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?"
)
_LONGEST_RANGE: Final = 64
_NO_TIME: Final = 1

_NOT_A_READER: Final = Refusal(
    HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are supported", is_notable=True
)
_TOO_MANY_RANGES: Final = Refusal(
    HTTPStatus.BAD_REQUEST, "ask for one range of bytes at a time", is_notable=True
)
_SUSPICIOUS: Final = replace(MISSING, is_notable=True)


class Application:
    """Answers requests from a library.

    ``priority`` is the cache's among a client's others, a lower one being asked first; ``counters``
    are what ``/metrics`` tells; ``log`` is told, a line each, of what is kept and cannot be read.
    ``title`` is that of the status page; None is the name of what is served.
    """

    def __init__(
        self,
        library: Library,
        *,
        priority: int,
        counters: Counters,
        log: Callable[[str], None],
        title: str | None = None,
    ) -> None:
        self._library = library
        self._overviews = Overviews(library, log)
        self._counters = counters
        self._log = log
        self._told_absence: str | None = None
        self._priority = priority
        self._title = title
        self._cache_info = print_cache_info(CacheInfo(want_mass_query=True, priority=priority))
        self._sizes: dict[tuple[StorePath, int | None], int] = {}
        """Of what is made of a path, which never changes, with the time of an archive."""

    async def answer(
        self,
        method: str,
        target: str,
        asked: Route | None,
        *,
        host: str | None,
        ranges: str | None,
    ) -> Answer | Refusal:
        """Answer a request; ``asked`` is what its ``target`` asks for.

        ``host`` and ``ranges`` are its headers ``Host`` and ``Range``.

        Raises:
            DestinationError: what is kept cannot be read.
            ToolError: the store does not answer.

        """
        if method not in _READ_METHODS:
            return _NOT_A_READER
        if ranges is not None and len(ranges) > _LONGEST_RANGE:
            return _TOO_MANY_RANGES
        if (absence := self._absence()) is not None:
            return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, absence)
        match asked:
            case NarInfoOf(hash_part):
                answer = await self._library.narinfo(hash_part)
            case NarFile(name):
                answer = await self._library.nar(name)
            case FileOf(digest):
                answer = await self._file(digest)
            case InputArchive(hash_part):
                answer = await self._input(hash_part)
            case Page() as wanted:
                answer = await self._page(wanted, host)
            case None:
                answer = _SUSPICIOUS if is_suspicious(target) else MISSING
        return answer

    def _absence(self) -> str | None:
        """Why nothing can be answered now; changes are logged.

        To say that something is missing would be wrong, and clients remember that for an hour.
        """
        absence = self._library.absence()
        if absence != self._told_absence:
            self._log(f"not served: {absence}" if absence else "served again")
            self._told_absence = absence
        return absence

    async def _file(self, digest: Hash) -> Answer | Refusal:
        path = (await self._overviews.newest()).files.get(digest)
        unpacked = None if path is None else await self._library.unpacked(path)
        if path is None or unpacked is None:
            return MISSING
        size = await self._size(path, None, lambda: file_size(unpacked()))
        if size is None:
            return _damaged(path)
        return Answer(
            body=Made(size, lambda: file_pieces(unpacked())),
            content_type="application/octet-stream",
            tag=f"{digest.algorithm}-{digest.base16}",
            is_lasting=True,
        )

    async def _input(self, hash_part: str) -> Answer | Refusal:
        locked = (await self._overviews.newest()).inputs.get(hash_part)
        unpacked = None if locked is None else await self._library.unpacked(locked.path)
        if locked is None or unpacked is None:
            return MISSING
        time = locked.last_modified or _NO_TIME
        size = await self._size(
            locked.path, time, lambda: archive_size(unpacked(), last_modified=time)
        )
        if size is None:
            return _damaged(locked.path)
        return Answer(
            body=Made(size, partial(_archive, unpacked, time)),
            content_type="application/x-tar",
            tag=f"{hash_part}-{time}",
        )

    async def _size(
        self, path: StorePath, time: int | None, measure: Callable[[], int]
    ) -> int | None:
        """The size of the content made from a path; None if the path is damaged."""
        if (known := self._sizes.get((path, time))) is not None:
            return known
        try:
            size = await in_thread(measure)
        except (OSError, FormatError):
            return None
        self._sizes[path, time] = size
        return size

    async def _page(self, wanted: Page, host: str | None) -> Answer:
        if wanted is Page.CACHE_INFO:
            return text_answer(self._cache_info, "text/x-nix-cache-info")
        overview = await self._overviews.whole()
        authority = host if host and _AUTHORITY.fullmatch(host) else None
        public_keys: tuple[str, ...] = ()
        try:
            public_keys = await self._library.public_keys()
        except DestinationError as error:
            overview = replace(overview, unreadable=(*overview.unreadable, error.message))
        client = Client(
            url=f"http://{authority or 'localhost'}",
            public_keys=public_keys,
            priority=self._priority,
            upstream_keys=tuple(dict.fromkeys(key for each in overview.hosts for key in each.keys)),
        )
        stored, policy = await self._library.file_bytes(), None
        name = self._library.destination.name
        match wanted:
            case Page.STATUS:
                text = page.render(
                    overview, client, name, stored, title=self._title, counters=self._counters
                )
                kind, policy = "text/html; charset=utf-8", assets.policy()
            case Page.STATUS_DOCUMENT:
                text = status.render(
                    overview, client, name, stored, title=self._title, counters=self._counters
                )
                kind = "application/json"
            case _:
                text = metrics.render(overview, self._counters, stored)
                kind = "text/plain; version=0.0.4; charset=utf-8"
        # A lone surrogate may have come with a name of a file that is no UTF-8.
        return text_answer(text.encode(errors="backslashreplace"), kind, policy=policy)


def _damaged(path: StorePath) -> Refusal:
    return Refusal(
        HTTPStatus.INTERNAL_SERVER_ERROR, f"{path.name} is damaged here", is_notable=True
    )


def _archive(unpacked: Callable[[], Iterator[bytes]], time: int) -> Iterator[bytes]:
    return archive_pieces(unpacked(), last_modified=time)
