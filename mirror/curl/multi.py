"""libcurl's transfers on asyncio's event loop.

libcurl says which sockets it waits for and until when; the loop tells it when they are ready.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pycurl

if TYPE_CHECKING:
    from collections.abc import Callable

_MILLISECOND = 1e-3


class Multi:
    """Transfers that share connections, names' addresses and TLS sessions."""

    def __init__(self, connections: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._wake_in)
        self._multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections)
        self._timer: asyncio.TimerHandle | None = None
        self._until: float | None = None
        self._watched: dict[int, int] = {}
        self._transfers: dict[pycurl.Curl, Callable[[int, str], None]] = {}

    def add(self, easy: pycurl.Curl, ended: Callable[[int, str], None]) -> None:
        """Begin a transfer; ``ended`` is called with libcurl's error (0 for none) and its text."""
        self._transfers[easy] = ended
        self._multi.add_handle(easy)

    def remove(self, easy: pycurl.Curl) -> None:
        """End a transfer, and its connection if something is still to come over it."""
        if self._transfers.pop(easy, None) is not None:
            self._multi.remove_handle(easy)

    def close(self) -> None:
        """End all transfers and connections."""
        for easy in list(self._transfers):
            self.remove(easy)
        self._multi.close()
        self._until = None
        self._set_timer()

    def _watch(self, wanted: int, socket: int, _multi: object, _data: object) -> None:
        watched = self._watched.get(socket, 0)
        # What is no more watched comes as a bit of its own, which is neither of the two.
        wanted &= pycurl.POLL_INOUT
        if wanted & pycurl.POLL_IN and not watched & pycurl.POLL_IN:
            self._loop.add_reader(socket, self._act, socket, pycurl.CSELECT_IN)
        elif watched & pycurl.POLL_IN and not wanted & pycurl.POLL_IN:
            self._loop.remove_reader(socket)
        if wanted & pycurl.POLL_OUT and not watched & pycurl.POLL_OUT:
            self._loop.add_writer(socket, self._act, socket, pycurl.CSELECT_OUT)
        elif watched & pycurl.POLL_OUT and not wanted & pycurl.POLL_OUT:
            self._loop.remove_writer(socket)
        if wanted:
            self._watched[socket] = wanted
        else:
            self._watched.pop(socket, None)

    def _wake_in(self, milliseconds: int) -> None:
        # This is said several times of each transfer: a timer that is too early does no harm.
        self._until = None
        if milliseconds >= 0:
            self._until = self._loop.time() + milliseconds * _MILLISECOND
            if self._timer is None or self._timer.when() > self._until:
                self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if self._until is None else self._loop.call_at(self._until, self._time)

    def _time(self) -> None:
        self._timer = None
        if self._until is not None and self._loop.time() < self._until:
            self._set_timer()
        elif self._until is not None:
            self._act(pycurl.SOCKET_TIMEOUT, 0)

    def _act(self, socket: int, ready: int) -> None:
        self._multi.socket_action(socket, ready)
        left = 1
        while left:
            left, succeeded, failed = self._multi.info_read()
            for easy in succeeded:
                self._transfers[easy](0, "")
            for easy, code, words in failed:
                self._transfers[easy](code, words)
