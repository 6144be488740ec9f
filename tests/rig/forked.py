"""The program in forks of a process that has imported it: many runs, cheaply.

``python -m rig.forked [UID GID]``: each line of standard input is a run, each line of standard
output how it ended. What Python itself reads at its start is the process's: ``PYTHON…`` and the
locale.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import pwd
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from mirror import schemas
from rig.nixes import PYTHON_PATH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

TESTS: Final = Path(__file__).resolve().parents[1]
TOO_LONG: Final = 600
"""After so many seconds a run is taken to hang."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended: its exit code, negative for a signal."""

    code: int
    stdout: str
    stderr: str


class Forking:
    """The process that runs are forks of."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._turn = threading.Lock()

    @classmethod
    @contextlib.contextmanager
    def start(cls, user: pwd.struct_passwd | None = None) -> Iterator[Forking]:
        """Start it; ``user`` is whose runs they are, None for whoever tests.

        To root the kernel refuses next to nothing.
        """
        becomes = user is not None and os.geteuid() == 0
        before = ["unshare", "--mount"] if becomes else []
        ids = [str(user.pw_uid), str(user.pw_gid)] if user is not None and becomes else []
        with subprocess.Popen(
            [*before, sys.executable, "-m", "rig.forked", *ids],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([PYTHON_PATH, str(TESTS)])},
        ) as process:
            yield cls(process)
            assert process.stdin is not None
            process.stdin.close()

    def run(
        self, arguments: Sequence[str], *, directory: Path, environment: Mapping[str, str]
    ) -> Ended:
        """Run the program to its end, with a working directory and all of its environment."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = json.dumps([arguments, str(directory), dict(environment)])
        with self._turn:
            self._process.stdin.write(f"{request}\n")
            self._process.stdin.flush()
            return Ended(**json.loads(self._process.stdout.readline()))


def somebody() -> pwd.struct_passwd:
    """An ordinary user: who runs the tests or, if that is root, some other."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    return next(each for each in pwd.getpwall() if 0 < each.pw_uid < 1000)


def make_reachable() -> None:
    """Let any user get to Python and the program, also where those are in root's own directory.

    In a mount namespace of its own: what hides them is covered, and they are put there again.
    """
    places = {Path(each).resolve() for each in (sys.base_prefix, sys.prefix, TESTS.parent)}
    hidden = {}
    for place in sorted(places):
        closed = [each for each in place.parents if not each.stat().st_mode & 0o001]
        if closed:
            hidden[place] = (closed[-1], os.open(place, os.O_PATH))
    for cover in {cover for cover, _ in hidden.values()}:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", cover], check=True)
    for place, (_, descriptor) in hidden.items():
        place.mkdir(parents=True, exist_ok=True)
        what = f"/proc/{os.getpid()}/fd/{descriptor}"
        subprocess.run(["mount", "--no-canonicalize", "--bind", what, place], check=True)


def import_all() -> None:
    """Import what a run may, so that it need not."""
    mirror = importlib.import_module("mirror")
    for module in pkgutil.walk_packages(mirror.__path__, "mirror."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    importlib.import_module("encodings.idna")
    # What parsing a command line imports and builds, it does only then.
    sys.argv = ["prefetch", "key", "show", ""]
    said = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stderr(said):
        importlib.import_module("mirror.cli").main()


def main() -> None:
    # By this name Python imported it, and documents are compared there.
    comparing = importlib.import_module("sitecustomize")
    ids = tuple(map(int, sys.argv[1:]))
    import_all()
    for name in schemas.names():
        comparing.validator(name)
    if ids:
        make_reachable()
    from mirror.cli import main as program  # noqa: PLC0415 - only in this process

    gc.freeze()
    for line in sys.stdin:
        arguments, directory, environment = json.loads(line)
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            child = os.fork()
            if child == 0:
                become(directory, environment, (stdout, stderr), ids)
                os._exit(run(program, arguments))
            _, status = os.waitpid(child, 0)
            texts = [
                os.pread(each.fileno(), 1 << 24, 0).decode(errors="surrogateescape")
                for each in (stdout, stderr)
            ]
        answer = {
            "code": os.waitstatus_to_exitcode(status),
            "stdout": texts[0],
            "stderr": texts[1],
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def become(
    directory: str,
    environment: dict[str, str],
    output: tuple[IO[bytes], IO[bytes]],
    ids: Sequence[int],
) -> None:
    """Be the process of a run, before anything of the program runs."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for place, stream in enumerate(output, 1):
        os.dup2(stream.fileno(), place)
    if ids:
        user, group = ids
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    tempfile.tempdir = None  # it is found anew
    signal.alarm(TOO_LONG)


def run(program: Callable[[], None], arguments: list[str]) -> int:
    """Be a run; its exit code."""
    sys.argv = ["prefetch", *arguments]
    code = 0
    try:
        program()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException as error:  # noqa: BLE001 - shown as Python would
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    main()
