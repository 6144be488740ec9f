"""What a run and its guard say to each other.

Over the guard's socket come single bytes: ``S`` with five descriptors to start a program (the
program's own channel, its three standard streams, its working directory), ``G`` for an orderly end
of the run, which leaves alone what programs that have ended left running on purpose.

Over a program's channel comes first the length of what follows (4 bytes), then, with NULs in
between, how many words the command has, these words, and the variables of its environment. Later,
``T`` with the seconds (a double) that it has to end by itself; a channel that is closed means the
same. Answered are ``P`` and the process number, or ``F`` and an error number; at its end ``X`` and
its exit code, negative for a signal. Numbers are big-endian, of 4 bytes.
"""

from __future__ import annotations

import array
import contextlib
import socket
import struct
from typing import Final

DESCRIPTORS: Final = 5
LENGTH: Final = struct.Struct("!I")
ANSWER: Final = struct.Struct("!ci")
SECONDS: Final = struct.Struct("!d")
CONTROL_SPACE: Final = socket.CMSG_SPACE(DESCRIPTORS * array.array("i").itemsize)

_READ: Final = 1 << 16


def received(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors that came with a message."""
    found = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return found.tolist()


def read_request(channel: socket.socket) -> tuple[list[bytes], dict[bytes, bytes]] | None:
    """The command and its environment; None if whoever asked is gone."""
    head = read_exactly(channel, LENGTH.size)
    data = read_exactly(channel, LENGTH.unpack(head)[0]) if head else None
    if data is None:
        return None
    count, *parts = data.split(b"\0")
    words, variables = parts[: int(count)], parts[int(count) :]
    return words, dict(each.partition(b"=")[::2] for each in variables)


def read_exactly(channel: socket.socket, length: int) -> bytes | None:
    """Read exactly ``length`` bytes; None if there are fewer."""
    data = bytearray()
    while len(data) < length:
        part = channel.recv(min(length - len(data), _READ))
        if not part:
            return None
        data += part
    return bytes(data)


def answer(channel: socket.socket, word: bytes, number: int) -> None:
    """Say something about a program."""
    # That nobody listens any more is found out by reading.
    with contextlib.suppress(OSError):
        channel.send(ANSWER.pack(word, number))
