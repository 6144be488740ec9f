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
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import time
from typing import Final

from mirror.system.guard.descendants import descendants, signal_group, signal_process
from mirror.system.guard.protocol import (
    CONTROL_SPACE,
    DESCRIPTORS,
    SECONDS,
    answer,
    read_request,
    received,
)
from mirror.system.guard.spawning import PR_SET_CHILD_SUBREAPER, control_process, spawn

PATIENCE: Final = 2.0
"""So many seconds programs have to end by themselves after the run was killed."""

_CONTROL: Final = 0
_PAUSE: Final = 0.02
_STUBBORN: Final = 60.0
"""So many seconds the guard goes on trying to kill: others' processes, it cannot."""
_ROUNDS: Final = 100
"""So many times what descends from a program is looked for: others' processes cannot be stopped."""
_WAKE_UPS: Final = 1 << 16


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
        found: dict[int, str] = {}
        # What is stopped starts nothing any more while the rest is looked for.
        signal_group(self.number, signal.SIGSTOP)
        new = {**self.known, **descendants(self.number)}
        for _ in range(_ROUNDS):
            for number, start in new.items():
                signal_process(number, start, signal.SIGSTOP)
            found.update(new)
            below = descendants(self.number, found)
            new = {number: start for number, start in below.items() if number not in found}
            if not new:
                break
        signal_group(self.number, signal.SIGKILL)
        for number, start in found.items():
            signal_process(number, start, signal.SIGKILL)


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
                os.read(self.woken, _WAKE_UPS)
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
                signal_process(number, start, signal.SIGKILL)
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
                    1, CONTROL_SPACE, socket.MSG_CMSG_CLOEXEC
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


def main() -> None:
    """Be the guard of the process that has the other end of standard input."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    control_process(PR_SET_CHILD_SUBREAPER, 1)
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
