"""Processes that are ended with all that they started, whatever becomes of who waits for them.

They are started by the guard (:mod:`mirror.system.guard`), a process that outlives this one
for as long as it takes to end them all.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import os
import shutil
import signal
import socket
import sys
import threading
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from mirror.system import guard
from mirror.system.guard.guard import PATIENCE
from mirror.system.guard.protocol import ANSWER, LENGTH, SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

__all__ = ["DEVNULL", "PIPE", "Process", "dismiss_guard", "started"]

_GUARD: Final = Path(guard.__file__).with_name("__main__.py")
_GUARD_IS_GONE: Final = -signal.SIGKILL
"""What a program's exit code is taken for then: it was killed by the kernel with its guard."""


class Process:
    """A program that was started: ``returncode`` is None until it has ended.

    A signal that ended it is a negative return code. Each stream is None unless it is a pipe.
    """

    def __init__(
        self,
        channel: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        number: int,
        streams: tuple[
            asyncio.StreamWriter | None, asyncio.StreamReader | None, asyncio.StreamReader | None
        ],
    ) -> None:
        self.pid = number
        self.returncode: int | None = None
        self.stdin, self.stdout, self.stderr = streams
        self._answers, self._words = channel
        self._ended = asyncio.ensure_future(self._await_end())

    async def wait(self) -> int:
        """Wait for its end; its return code."""
        return await asyncio.shield(self._ended)

    async def communicate(self, data: bytes | None = None) -> tuple[bytes, bytes]:
        """Write ``data`` to it and read all that it writes to pipes; wait for its end."""
        async with asyncio.TaskGroup() as group:
            if self.stdin is not None:
                group.create_task(_write(self.stdin, data))
            output = group.create_task(_read(self.stdout))
            errors = group.create_task(_read(self.stderr))
            group.create_task(self.wait())
        return output.result(), errors.result()

    async def end(self, patience: float) -> None:
        """End it with all that it started: politely, and after ``patience`` seconds not."""
        _Guard.has_ended_programs = True
        with contextlib.suppress(ConnectionError):
            self._words.write(b"T" + SECONDS.pack(patience))
            await self._words.drain()
        await self.wait()

    async def _await_end(self) -> int:
        try:
            _, code = ANSWER.unpack(await self._answers.readexactly(ANSWER.size))
        except (OSError, asyncio.IncompleteReadError):
            code = _GUARD_IS_GONE
        self.returncode = code
        self._words.close()
        return int(code)


@contextlib.asynccontextmanager
async def started(
    command: Sequence[str | Path],
    *,
    stdin: int,
    stdout: int | IO[str],
    stderr: int | IO[str],
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    patience: float = PATIENCE,
) -> AsyncIterator[Process]:
    """Start a program; if it still runs when the context is left, it and its children are ended.

    ``environment`` is all of its own, None for this process's. ``patience`` is how many seconds
    they have to end by themselves, once asked to. If this process is killed, they are ended, too.

    Raises:
        OSError: it cannot be started.

    """
    starting = asyncio.create_task(
        _start(command, (stdin, stdout, stderr), environment=environment, directory=directory)
    )
    try:
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            await (await starting).end(patience)
        raise
    try:
        yield process
    finally:
        if process.returncode is None:
            await process.end(patience)


def dismiss_guard() -> None:
    """Let the guard go at the end of a run that ends in order, if it has one.

    What programs that ended by themselves have left running stays; else it is ended.
    """
    _Guard.dismiss()


async def _start(
    command: Sequence[str | Path],
    streams: Sequence[int | IO[str]],
    *,
    environment: Mapping[str, str] | None,
    directory: Path | None,
) -> Process:
    request = _request(command, os.environ if environment is None else environment)
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        given = []
        kept: list[int | None] = []
        for place, stream in enumerate(streams):
            end, other = _stream_ends(stream, is_input=place == 0)
            given.append(end)
            kept.append(other)
            if not hasattr(stream, "fileno") and stream in {PIPE, DEVNULL}:
                theirs.callback(os.close, end)
            if other is not None:
                ours.callback(os.close, other)
        given.append(os.open(directory or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        theirs.callback(os.close, given[-1])
        channel, its_channel = socket.socketpair()
        ours.callback(channel.close)
        theirs.callback(its_channel.close)
        channel.setblocking(False)
        _Guard.ask(its_channel.fileno(), *given)
        theirs.close()
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(channel, request)
        reader, writer = await asyncio.open_connection(sock=channel)
        try:
            word, number = ANSWER.unpack(await reader.readexactly(ANSWER.size))
        except (OSError, asyncio.IncompleteReadError):
            word, number = b"F", errno.EAGAIN
        if word == b"F":
            writer.close()
            raise OSError(number, os.strerror(number), str(command[0]))
        ours.pop_all()
    stdin, stdout, stderr = kept
    return Process(
        (reader, writer),
        number,
        (
            None if stdin is None else await _writer(stdin),
            None if stdout is None else await _reader(stdout),
            None if stderr is None else await _reader(stderr),
        ),
    )


def _request(command: Sequence[str | Path], environment: Mapping[str, str]) -> bytes:
    """What the guard is asked for.

    Raises:
        OSError: there is no such program, or no program can be told that.

    """
    name, *arguments = map(str, command)
    program = shutil.which(name, path=environment.get("PATH"))
    if program is None:
        code = errno.EACCES if os.path.exists(name) else errno.ENOENT  # noqa: PTH110 - never raises
        raise OSError(code, os.strerror(code), name)
    variables = [f"{variable}={value}" for variable, value in environment.items()]
    words = [os.fsencode(word) for word in (program, *arguments, *variables)]
    if any(b"\0" in word for word in words):
        raise OSError(errno.EINVAL, "an argument has a NUL byte in it", name)
    data = b"\0".join([b"%d" % (1 + len(arguments)), *words])
    return LENGTH.pack(len(data)) + data


def _stream_ends(stream: int | IO[str], *, is_input: bool) -> tuple[int, int | None]:
    """The program's end of one of its standard streams, and ours if it is a pipe."""
    if not isinstance(stream, int):
        return stream.fileno(), None
    if stream == DEVNULL:
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), None
    if stream == PIPE:
        read, write = os.pipe()
        return (read, write) if is_input else (write, read)
    return stream, None


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader


async def _writer(descriptor: int) -> asyncio.StreamWriter:
    pipe = os.fdopen(descriptor, "wb", buffering=0)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), pipe
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)


async def _write(stream: asyncio.StreamWriter, data: bytes | None) -> None:
    # A program need not read all that it is given.
    with contextlib.suppress(ConnectionError):
        if data:
            stream.write(data)
            await stream.drain()
    stream.close()


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    return b"" if stream is None else await stream.read()


class _Guard:
    """This process's guard, started when it is first needed, or when the last one is gone."""

    _lock: Final = threading.Lock()
    _owner = 0
    _number = 0
    _control: socket.socket | None = None
    has_ended_programs = False

    @classmethod
    def ask(cls, *descriptors: int) -> None:
        """Hand the descriptors to the guard, for a program to start.

        Raises:
            OSError: there is none, and none can be started.

        """
        with cls._lock:
            try:
                cls._send(b"S", *descriptors)
            except ConnectionError:
                cls._forget()
                cls._send(b"S", *descriptors)

    @classmethod
    def dismiss(cls) -> None:
        with cls._lock, contextlib.suppress(OSError):
            if cls._control is None or cls._owner != os.getpid():
                return
            if not cls.has_ended_programs:
                cls._send(b"G")
            cls._forget(wait=not cls.has_ended_programs)

    @classmethod
    def _send(cls, word: bytes, *descriptors: int) -> None:
        if cls._control is None or cls._owner != os.getpid():
            # What was inherited is another process's.
            cls._forget()
            cls._start()
        assert cls._control is not None
        passed = array.array("i", descriptors)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)] if descriptors else []
        cls._control.sendmsg([word], ancillary)

    @classmethod
    def _start(cls) -> None:
        control, its_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its_control, contextlib.ExitStack() as stack:
            stack.callback(control.close)
            cls._number = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", str(_GUARD)],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, its_control.fileno(), 0),
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                ],
                # Neither a terminal's Ctrl-C nor what ends this process's group is for it.
                setsid=True,
            )
            stack.pop_all()
        cls._owner, cls._control = os.getpid(), control
        cls.has_ended_programs = False

    @classmethod
    def _forget(cls, *, wait: bool = False) -> None:
        if cls._control is None:
            return
        cls._control.close()
        cls._control = None
        if cls._owner == os.getpid():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(cls._number, 0 if wait else os.WNOHANG)
