"""The guard: the process below which all programs run that a run of prefetch starts.

A program of its own (:mod:`mirror.system.processes` starts it once a run, and speaks to it), which
imports nothing but the standard library. It is the parent of every program, and the kernel makes it
the parent of whatever loses its own one below it (``PR_SET_CHILD_SUBREAPER``): so nothing that was
started can get away, be it in a session or in namespaces of its own.

It listens to a socket whose other end only the run has open. When that is closed without a word,
the run was killed: the programs are asked to end (SIGTERM), and after :data:`PATIENCE` seconds all
that is below the guard is killed (SIGKILL) until nothing is left. That is a state, which cannot be
missed, and no event: it holds also for what is started in the run's last moment. Should the guard
itself be killed, the kernel kills the programs that it started.

What is said
------------

Over the socket come single bytes: ``S`` with five descriptors to start a program (the program's own
channel, its three standard streams, its working directory), ``G`` for an orderly end of the run,
which leaves alone what programs that have ended left running on purpose.

Over a program's channel comes first the length of what follows (4 bytes), then, with NULs in
between, how many words the command has, these words, and the variables of its environment. Later,
``T`` with the seconds (a double) that it has to end by itself; a channel that is closed means the
same. Answered are ``P`` and the process number, or ``F`` and an error number; at its end ``X`` and
its exit code, negative for a signal. Numbers are big-endian, of 4 bytes.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import os
import select
import signal
import socket
import struct
import time
from typing import Final

PATIENCE: Final = 2.0
"""So many seconds programs have to end by themselves after the run was killed."""
DESCRIPTORS: Final = 5
LENGTH: Final = struct.Struct("!I")
ANSWER: Final = struct.Struct("!ci")
SECONDS: Final = struct.Struct("!d")

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_CONTROL: Final = 0
_PAUSE: Final = 0.02
_STUBBORN: Final = 60.0
"""So many seconds the guard goes on trying to kill: others' processes, it cannot."""
_READ: Final = 1 << 16
_CONTROL_SPACE: Final = socket.CMSG_SPACE(DESCRIPTORS * array.array("i").itemsize)


class Program:
    """A program that was started, as long as it or what it has left is of interest."""

    def __init__(self, number: int, channel: socket.socket) -> None:
        self.number = number
        self.channel = channel
        self.deadline: float | None = None
        self.known: dict[int, str] = {}
        """What descended from it when it was asked to end, each with its start."""

    def ask_to_end(self, patience: float) -> None:
        """Ask it to end within ``patience`` seconds, unless it was asked before."""
        if self.deadline is None:
            self.deadline = time.monotonic() + patience
            self.known = descendants(self.number)
            signal_group(self.number, signal.SIGTERM)

    def kill(self) -> None:
        """Kill it with all that it started, of which it must not have been reaped yet."""
        found = {**self.known, **descendants(self.number)}
        signal_group(self.number, signal.SIGKILL)
        for number, start in found.items():
            signal_process(number, start)


class Guard:
    """All programs of a run."""

    def __init__(self, control: socket.socket, woken: int) -> None:
        self.control: socket.socket | None = control
        self.woken = woken
        self.programs: dict[int, Program] = {}
        self.poll = select.poll()
        self.poll.register(control.fileno(), select.POLLIN)
        self.poll.register(woken, select.POLLIN)
        self.run_ended: float | None = None

    def serve(self) -> None:
        """Start and end programs until the run has ended, and then all that is left."""
        while self.control is not None or not self.is_over():
            self.poll.poll(self.time_to_wait())
            with contextlib.suppress(BlockingIOError):
                os.read(self.woken, _READ)
            self.listen()
            for program in list(self.programs.values()):
                self.hear(program)
            self.reap()
            now = time.monotonic()
            for program in self.programs.values():
                if program.deadline is not None and now >= program.deadline:
                    program.kill()

    def is_over(self) -> bool:
        """Whether nothing is left of a run that was killed; past its time, kill what is."""
        assert self.run_ended is not None
        left = descendants(os.getpid())
        if not left and not self.programs:
            return True
        past = time.monotonic() - self.run_ended
        if past >= PATIENCE or not self.programs:
            for number, start in left.items():
                signal_process(number, start)
        return past > PATIENCE + _STUBBORN

    def time_to_wait(self) -> float | None:
        """Milliseconds until there is something to do by itself."""
        if self.control is None or any(
            each.deadline is not None and each.deadline <= time.monotonic()
            for each in self.programs.values()
        ):
            return _PAUSE * 1000
        deadlines = [each.deadline for each in self.programs.values() if each.deadline is not None]
        return max(0.0, min(deadlines) - time.monotonic()) * 1000 if deadlines else None

    def listen(self) -> None:
        """Handle a message of the run, or its end."""
        while self.control is not None:
            try:
                word, ancillary, _, _ = self.control.recvmsg(
                    1, _CONTROL_SPACE, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            descriptors = received(ancillary)
            if word == b"G":
                os._exit(0)
            if word == b"S":
                self.start(descriptors)
                continue
            self.poll.unregister(self.control.fileno())
            self.control.close()
            self.control = None
            self.run_ended = time.monotonic()
            for program in self.programs.values():
                program.ask_to_end(PATIENCE)

    def start(self, descriptors: list[int]) -> None:
        """Start a program; the first descriptor is its channel."""
        channel = socket.socket(fileno=descriptors[0]) if descriptors else None
        try:
            if channel is None:
                return
            if len(descriptors) < DESCRIPTORS:
                answer(channel, b"F", errno.EMFILE)
                channel.close()
                return
            self.start_on(channel, descriptors[1:])
        finally:
            for each in descriptors[1:]:
                os.close(each)

    def start_on(self, channel: socket.socket, descriptors: list[int]) -> None:
        """Start the program that is asked for on a channel."""
        request = read_request(channel)
        if request is None:
            channel.close()
            return
        try:
            number = spawn(*request, descriptors)
        except OSError as error:
            answer(channel, b"F", error.errno or errno.EIO)
            channel.close()
            return
        channel.setblocking(False)
        self.poll.register(channel.fileno(), select.POLLIN)
        self.programs[number] = Program(number, channel)
        answer(channel, b"P", number)

    def hear(self, program: Program) -> None:
        """See whether a program is to end."""
        if program.channel.fileno() < 0:
            return
        try:
            said = program.channel.recv(1 + SECONDS.size)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if len(said) == 1 + SECONDS.size:
            program.ask_to_end(SECONDS.unpack(said[1:])[0])
        else:
            self.hang_up(program)
            program.ask_to_end(PATIENCE)

    def reap(self) -> None:
        """Report programs that have ended, after killing what they left, if requested."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            program = self.programs.pop(ended.si_pid, None)
            if program is not None and program.deadline is not None:
                # Until it is reaped, its number, and that of its group, is nobody else's.
                program.kill()
            _, status = os.waitpid(ended.si_pid, 0)
            if program is not None:
                answer(program.channel, b"X", os.waitstatus_to_exitcode(status))
                self.hang_up(program)

    def hang_up(self, program: Program) -> None:
        """Close its channel, which is no longer used."""
        if program.channel.fileno() >= 0:
            self.poll.unregister(program.channel.fileno())
            program.channel.close()


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
    """So many bytes; None if there are less."""
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


def spawn(command: list[bytes], environment: dict[bytes, bytes], descriptors: list[int]) -> int:
    """Start a program, in a session of its own; ``descriptors`` are its streams and its directory.

    Raises:
        OSError: it cannot be started.

    """
    guard = os.getpid()
    read, write = os.pipe()
    try:
        number = os.fork()
        if number == 0:
            become(command, environment, descriptors, guard, write)
        os.close(write)
        write = -1
        failed = os.read(read, LENGTH.size)
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)
    if failed:
        os.waitpid(number, 0)
        code = LENGTH.unpack(failed)[0]
        raise OSError(code, os.strerror(code))
    return number


def become(
    command: list[bytes],
    environment: dict[bytes, bytes],
    descriptors: list[int],
    guard: int,
    complaints: int,
) -> None:
    """Become the program, in the new process; errors go to ``complaints``."""
    try:
        # The guard may be gone before the kernel was asked to tell of that.
        control_process(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(1)
        os.setsid()
        # What Python ignores a program does not expect to be ignored.
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        *streams, directory = descriptors
        os.fchdir(directory)
        for place, stream in enumerate(streams):
            # None of them is below 3, where the guard's own streams are.
            os.dup2(stream, place)
        os.execve(command[0], command, environment)  # noqa: S606 - what this is for
    except OSError as error:
        os.write(complaints, LENGTH.pack(error.errno or errno.EIO))
    finally:
        os._exit(127)


def control_process(option: int, value: int) -> None:
    """``prctl(2)``; where it is not to be had, sessions are all that is known of descendants."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def descendants(number: int) -> dict[int, str]:
    """All that now descends from a process, with the start of each."""
    children: dict[int, list[tuple[int, str]]] = {}
    try:
        names = os.listdir("/proc")  # noqa: PTH208 - it is many processes, and no paths
    except OSError:
        return {}
    for name in names:
        if name.isdecimal() and (found := parent_and_start(int(name))) is not None:
            children.setdefault(found[0], []).append((int(name), found[1]))
    below, waiting = {}, [number]
    while waiting:
        for child, start in children.get(waiting.pop(), ()):
            below[child] = start
            waiting.append(child)
    return below


def parent_and_start(number: int) -> tuple[int, str] | None:
    """A process's parent and start time; None if it has ended."""
    try:
        with open(f"/proc/{number}/stat", "rb") as stream:  # noqa: PTH123 - as above
            text = stream.read()
    except OSError:
        return None
    state, parent, *others = text.rpartition(b")")[2].split()
    return None if state in b"ZX" else (int(parent), others[17].decode())


def signal_group(number: int, what: int) -> None:
    """Signal a process group, if any of it is left."""
    # One that became another user, as sudo does, ends when it likes.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(number, what)


def signal_process(number: int, start: str) -> None:
    """Kill a process, unless its number belongs to another one by now."""
    with contextlib.suppress(OSError):
        try:
            descriptor = os.pidfd_open(number)
        except OSError as error:
            if error.errno not in {errno.ENOSYS, errno.EPERM, errno.EMFILE}:
                return
            os.kill(number, signal.SIGKILL)
            return
        try:
            found = parent_and_start(number)
            if found is not None and found[1] == start:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)


def main() -> None:
    """Be the guard of the process that has the other end of standard input."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    control_process(_PR_SET_CHILD_SUBREAPER, 1)
    read, write = os.pipe()
    for descriptor in (read, write):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    # Who stops all processes of a service asks the run, too, and it is to end in order. A handler,
    # unlike what is ignored, is not handed on to programs.
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    control = socket.socket(fileno=_CONTROL)
    control.setblocking(False)
    Guard(control, read).serve()


if __name__ == "__main__":
    main()
