"""The program, killed at a step of its own, or at a time: a launcher that counts its steps.

A step is whatever changes a directory, or may leave something half-done there: making, renaming,
removing, opening to write; Python announces each (``sys.addaudithook``) before it is done. It does
not announce that an open file is written or synced. The program has other functions for that here,
which do. At the step that was asked for the process kills
itself, as ``kill -9`` would. That no effect is left out is seen by comparing with strace.

What is written into a pipe is a step, too: it is what Nix is asked to do to a store.

:class:`Launcher` starts this module as a process of its own, which imports the program once and
forks for each run.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import itertools
import json
import os
import re
import select
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from rig.forked import import_all
from rig.nixes import PYTHON_PATH
from rig.power import Recorder
from rig.thorough import thorough_after_the_first

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

TESTS: Final = Path(__file__).resolve().parents[1]
PATIENCE: Final = 60.0
"""So many seconds a process may take to see that who started it is gone; it is mostly none."""
WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT
PATHS: Final = {
    "open": ((0, None),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.link": ((1, 3),),
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.utime": ((0, 3),),
}
"""Of each event, which arguments are a path and the descriptor that it is relative to."""
INTO_A_PIPE: Final = "os.write into a pipe"
"""The step of asking Nix for something."""
OF_EACH_KIND: Final = {INTO_A_PIPE: 12}
"""So many steps of a kind are tried, and :data:`OF_OTHERS` of any other."""
OF_OTHERS: Final = 3
NOT_ANNOUNCED: Final = ("fsync", "pwrite", "write")
"""The functions of ``os`` that change an open file, and that Python does not announce."""


ONE_OF: Final = 6
"""One of so many steps is in the smaller share."""
Share = Literal["some", "others"]
"""Of the steps that are tried, one of :data:`ONE_OF`, or the others."""
SHARES: Final = thorough_after_the_first(("some", "others"))

Step = tuple[str, int]
"""A kind of step (:func:`kind_of`), and which one of them, from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a run ended: its exit code (negative for a signal), the steps that it came to.

    It took ``seconds``. ``left`` are the processes that it had started and that outlived it by more
    than :data:`PATIENCE`.
    """

    code: int
    steps: tuple[str, ...]
    output: str
    seconds: float
    left: tuple[int, ...]

    @property
    def was_killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def each_step(self) -> list[Step]:
        """The steps as they can be asked for, also of a run that has more or fewer of a kind."""
        count: Counter[str] = Counter()
        found = []
        for kind in map(kind_of, self.steps):
            count[kind] += 1
            found.append((kind, count[kind]))
        return found

    def sample(self, share: Share) -> list[Step]:
        """Those of :func:`sampled`."""
        steps = self.each_step
        return [steps[place] for place in sampled(self.steps, share)]

    def came_to(self, step: Step) -> bool:
        return step in self.each_step


def kind_of(step: str) -> str:
    """What a step is about, whatever its temporary file is called."""
    return re.sub(r"\btmp[a-z0-9_]{8}|\.[0-9]+$", "tmp", step)


def sampled(steps: Sequence[str], share: Share) -> list[int]:
    """A share of the steps of which some of each kind are tried: the first, the last, some between.

    It is a share of all of them where ``PREFETCH_STEPS`` is ``all``.
    """
    places = range(len(steps)) if os.environ.get("PREFETCH_STEPS") == "all" else of_each_kind(steps)
    return [
        place for number, place in enumerate(places) if (number % ONE_OF == 0) is (share == "some")
    ]


def of_each_kind(steps: Sequence[str]) -> list[int]:
    """Where the first step of each kind is, the last, and some between."""
    kinds: dict[str, list[int]] = {}
    for place, step in enumerate(steps):
        # Of whatever store path it is.
        kinds.setdefault(re.sub(r"\b[0-9a-z]{32,}\b", "*", kind_of(step)), []).append(place)
    found = []
    for kind, places in kinds.items():
        most = min(OF_EACH_KIND.get(kind, OF_OTHERS), len(places))
        found += [places[number * (len(places) - 1) // max(most - 1, 1)] for number in range(most)]
    return sorted(found)


class Launcher:
    """Runs of the program, whose steps below ``directory`` are counted."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @classmethod
    @contextlib.contextmanager
    def start(
        cls,
        directory: Path,
        *,
        cwd: Path,
        environment: Mapping[str, str],
        before: Sequence[str] = (),
        syncs: bool = False,
    ) -> Iterator[Launcher]:
        """Start it; ``before`` is put in front of its command.

        Unless it ``syncs``, it only says that it does: a kill takes nothing that was written.
        """
        path = os.pathsep.join([PYTHON_PATH, str(TESTS)])
        with subprocess.Popen(
            [*before, sys.executable, "-m", "rig.killed", str(directory), *(["sync"] * syncs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env={**environment, "PYTHONPATH": path},
        ) as process:
            try:
                yield cls(process)
            except BaseException:
                process.kill()  # it may wait for a run that does not end
                raise
            assert process.stdin is not None
            process.stdin.close()

    def run(
        self,
        arguments: Sequence[str],
        *,
        kill_at: Step | None = None,
        kill_after: float | None = None,
        with_children: bool = False,
        history: Path | None = None,
    ) -> Run:
        """Run the program to its end, or up to the step ``kill_at``, which is not done.

        Or until ``kill_after`` seconds, perhaps with all processes that it started. ``history`` is
        a file to write, of what the disk had at each step (:class:`rig.power.History`).
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        recorded = None if history is None else str(history)
        request = [kill_at, kill_after, with_children, recorded, *arguments]
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return Run(
            code=answer["code"],
            steps=tuple(answer["steps"]),
            output=answer["output"],
            seconds=answer["seconds"],
            left=tuple(answer["left"]),
        )


def answer_requests(directory: str, *, syncs: bool) -> None:
    """Run the program for each line of standard input, which :meth:`Launcher.run` writes."""
    import_all()
    gc.freeze()  # else each run would copy what it looks through for garbage
    if not syncs:
        os.fsync = lambda fd: None  # noqa: ARG005
    for line in sys.stdin:
        kill_at, kill_after, with_children, history, *arguments = json.loads(line)
        with tempfile.TemporaryFile() as steps, tempfile.TemporaryFile() as output:
            started = time.monotonic()
            child = os.fork()
            if child == 0:
                recorder = None if history is None else Recorder(Path(directory))
                count_steps(directory, kill_at, steps.fileno(), recorder)
                code = run_the_program(arguments, output.fileno())
                if recorder is not None:
                    recorder.look("the end")
                    recorder.write(Path(history))
                os._exit(code)
            children = []
            if kill_after is not None:
                children = kill(child, after=kill_after, with_children=with_children)
            _, status = os.waitpid(child, 0)
            answer = {
                "seconds": time.monotonic() - started,
                "left": [each.number for each in children if each.outlives(PATIENCE)],
                "code": os.waitstatus_to_exitcode(status),
                "steps": os.pread(steps.fileno(), 1 << 24, 0).decode().splitlines(),
                "output": os.pread(output.fileno(), 1 << 24, 0).decode(errors="replace"),
            }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class Process:
    """A process; its number may once be another's, whose start is at another time."""

    number: int
    parent: int
    start: str

    @classmethod
    def all(cls) -> Iterator[Process]:
        for directory in Path("/proc").glob("[0-9]*"):
            found = cls.find(int(directory.name))
            if found is not None:
                yield found

    @classmethod
    def find(cls, number: int) -> Process | None:
        """None if it has ended, also where nobody has heard of that yet."""
        try:
            text = Path(f"/proc/{number}/stat").read_text()
        except OSError:
            return None
        state, parent, *others = text.rpartition(")")[2].split()
        return None if state in "ZX" else cls(number, int(parent), others[17])

    def outlives(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while (found := Process.find(self.number)) is not None and found.start == self.start:
            if time.monotonic() > end:
                return True
            time.sleep(0.01)
        return False


def kill(child: int, *, after: float, with_children: bool) -> list[Process]:
    """Kill a run if it has not ended by then; what it had started."""
    watched = select.poll()
    descriptor = os.pidfd_open(child)
    watched.register(descriptor, select.POLLIN)
    has_ended = bool(watched.poll(after * 1000))
    os.close(descriptor)
    if has_ended:
        return []
    children = started_by(child)
    os.kill(child, signal.SIGKILL)
    if with_children:
        for each in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each.number, signal.SIGKILL)
    return children


def started_by(number: int) -> list[Process]:
    """All that descends from a process now."""
    known, found = {number}, []
    processes = sorted(Process.all(), key=lambda each: int(each.start))
    for each in processes:
        if each.parent in known:
            known.add(each.number)
            found.append(each)
    return found


def count_steps(
    directory: str, kill_at: Sequence[Any] | None, log: int, recorder: Recorder | None
) -> None:
    """From now on write a line to ``log`` for each step, and die at the one that is asked for."""
    asked, occurrence = kill_at or (None, 0)
    numbers = itertools.count(1)  # runs in several threads
    write = os.write

    def step(event: str, subject: str, synced: int | None = None) -> None:
        name = f"{event} {subject}"
        write(log, f"{name}\n".encode())
        if recorder is not None:
            recorder.look(name, synced)
        if kind_of(name) == asked and next(numbers) == occurrence:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in PATHS or (event == "open" and not opens_to_write(*arguments)):
            return
        paths = [absolute(arguments, *places) for places in PATHS[event]]
        below = [path for path in paths if f"{path}/".startswith(f"{directory}/")]
        if below:
            step(event, os.path.relpath(below[-1], directory))

    def watch_open(name: str, descriptor: int) -> None:
        path = opened(descriptor)
        if path.is_relative_to(directory):
            synced = os.fstat(descriptor).st_ino if name == "fsync" else None
            step(f"os.{name}", os.path.relpath(path, directory), synced)
        elif name == "write" and stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            step("os.write", INTO_A_PIPE.partition(" ")[2])

    sys.addaudithook(watch)
    announce_what_python_does_not(watch_open)


def announce_what_python_does_not(announce: Callable[[str, int], None]) -> None:
    """Put other functions in the place of those that change open files, which announce it."""

    def announcing(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(descriptor: int, *arguments: Any) -> Any:
            announce(name, descriptor)
            return function(descriptor, *arguments)

        return call

    for name in NOT_ANNOUNCED:
        setattr(os, name, announcing(name, getattr(os, name)))

    class Announcing(io.FileIO):
        def write(self, data: Any) -> int:
            announce("write", self.fileno())
            return super().write(data)

    fdopen = os.fdopen

    def open_descriptor(descriptor: int, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if mode == "wb" and not arguments and not options:
            return io.BufferedWriter(Announcing(descriptor, mode))
        return fdopen(descriptor, mode, *arguments, **options)

    os.fdopen = open_descriptor  # type: ignore[assignment]


def opens_to_write(path: str | int, _mode: str | None, flags: int) -> bool:
    """Whether this opens a file, rather than wrap one that is open, and may change it."""
    return not isinstance(path, int) and bool(flags & WRITING)


def absolute(arguments: tuple[Any, ...], place: int, relative_to: int | None) -> str:
    """The path that an event is about, which may be a descriptor or relative to one."""
    path = arguments[place]
    if isinstance(path, int):
        return str(opened(path))
    base = -1 if relative_to is None else arguments[relative_to]
    directory = Path.cwd() if base == -1 else opened(base)
    return os.path.normpath(directory / os.fsdecode(path))


def opened(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def run_the_program(arguments: Sequence[str], output: int) -> int:
    """Run it to its end; its exit code."""
    from mirror.cli import main  # noqa: PLC0415 - only in the launcher

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream in (1, 2):
        os.dup2(output, stream)
    sys.argv = ["prefetch", *arguments]
    code = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
    return code


if __name__ == "__main__":
    answer_requests(os.path.realpath(sys.argv[1]), syncs=sys.argv[2:] == ["sync"])
