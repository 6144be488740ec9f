"""The installed Nix as a program: where it is, which version, and how its processes are run.

Every process of Nix is started here. Experimental features are switched on for the process
(``--extra-experimental-features``), never in the user's settings.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from mirror.errors import ArgumentError, PrefetchError, ToolError
from mirror.system.processes import started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from mirror.system.processes import Process

INSTALL_HINT: Final = (
    "install Nix (https://nixos.org/download, or on Debian: apt-get install nix-bin) "
    "and check that `nix --version` works"
)
FILES_HINT: Final = "raise the limit of open files (ulimit -n)"
_START_HINTS: Final = {
    errno.EMFILE: FILES_HINT,
    errno.ENFILE: FILES_HINT,
    errno.ENOENT: INSTALL_HINT,
    errno.EAGAIN: "raise the limit of processes (ulimit -u), or end some",
    errno.ENOMEM: "the system has no memory left: end some programs, or add swap",
}
_SHOWN: Final = 100
OLDEST: Final = (2, 8, 0)
"""The oldest version that works, which is the oldest that is tested."""
_LIX_AS: Final = (2, 18, 0)
_VERSION: Final = re.compile(rb"(?:\(([^)]*)\) )?(\d+)\.(\d+)(?:\.(\d+))?\S*\s*$", re.MULTILINE)
"""What ``nix --version`` ends with: ``nix (Determinate Nix 3.11.2) 2.31.1`` is Nix 2.31.1."""
_FEATURES: Final = ("--extra-experimental-features", "nix-command flakes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A process that has ended."""

    arguments: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: str

    @property
    def error_text(self) -> str:
        """Its whole error message: from the first ``error:`` on, otherwise the last lines."""
        lines = [line.rstrip() for line in self.stderr.strip().splitlines()]
        starts = [n for n, line in enumerate(lines) if line.startswith("error:")]
        return "\n".join(lines[starts[0] :] if starts else lines[-5:]) or "it said nothing"

    @property
    def last_words(self) -> str:
        """Its error message: from the last ``error:`` on, otherwise the last lines."""
        lines = [line.rstrip() for line in self.stderr.strip().splitlines()]
        starts = [n for n, line in enumerate(lines) if line.lstrip().startswith("error:")]
        return "\n".join(lines[starts[-1] :] if starts else lines[-5:]) or "it said nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nix:
    """An installed Nix: ``version`` is ``(major, minor, patch)``; ``environment`` is its own.

    Lix numbers its versions by itself: ``lix`` is its own, and ``version`` that of the Nix that it
    was made from.
    """

    program: str
    version: tuple[int, int, int]
    environment: Mapping[str, str] = field(repr=False)
    prefix: tuple[str, ...] = ()
    """What is put in front of each command."""
    lix: str | None = None

    @property
    def version_text(self) -> str:
        """``2.34.8``, ``Lix 2.93.0``."""
        return f"Lix {self.lix}" if self.lix else ".".join(str(part) for part in self.version)

    @property
    def full_name(self) -> str:
        """``Nix 2.34.8``, ``Lix 2.93.0``."""
        return self.version_text if self.lix else f"Nix {self.version_text}"

    @classmethod
    async def find(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Find ``nix`` on the search path of ``environment`` (None: this process's own).

        Raises:
            ToolError: there is none, or it does not run.

        """
        environment = dict(os.environ if environment is None else environment)
        program = shutil.which("nix", path=environment.get("PATH"))
        if program is None:
            raise ToolError(
                f"there is no `nix` on PATH ({environment.get('PATH', 'not set')})",
                hint=INSTALL_HINT,
            )
        unknown = cls(program=program, version=(0, 0, 0), environment=environment)
        completed = await unknown.run(["nix", "--version"])
        found = _VERSION.search(completed.stdout)
        if completed.returncode != 0 or found is None:
            raise ToolError(
                f"`nix --version` failed: {completed.last_words}",
                hint="check that it works by itself: nix.conf or NIX_CONFIG may not be valid",
            )
        kind, *numbers = found.groups()
        major, minor, patch = (int(group or 0) for group in numbers)
        is_lix = kind is not None and kind.startswith(b"Lix")
        nix = cls(
            program=program,
            version=_LIX_AS if is_lix else (major, minor, patch),
            environment=environment,
            lix=f"{major}.{minor}.{patch}" if is_lix else None,
        )
        if nix.version < OLDEST:
            oldest = ".".join(str(part) for part in OLDEST)
            raise ToolError(
                f"{nix.full_name} ({program}) is too old: {oldest} or later is needed",
                hint=INSTALL_HINT,
            )
        return nix

    @property
    def home(self) -> Path:
        """The home directory of the user whose Nix it is."""
        return Path(self.environment.get("HOME") or Path.home())

    @property
    def state_directory(self) -> Path:
        """Where prefetch keeps this user's state; the directory may not exist yet."""
        named = self.environment.get("XDG_STATE_HOME")
        return Path(named or self.home / ".local/state") / "prefetch"

    @property
    def cache_directory(self) -> Path:
        """Where prefetch keeps its cache; the directory may not exist yet."""
        named = self.environment.get("XDG_CACHE_HOME")
        return Path(named or self.home / ".cache") / "prefetch"

    def without_network(self) -> Self:
        """The same Nix, running where no network interface is up, not even loopback.

        Its processes get a network namespace of their own; an ordinary user needs a user
        namespace for that. It stays the same user in there: as root, Nix would try to build as
        another user, which such a namespace does not have.
        """
        own_user = () if os.geteuid() == 0 else ("--user", "--map-current-user")
        return replace(self, prefix=("unshare", *own_user, "--net"))

    async def isolated(self) -> Self:
        """The same as :meth:`without_network`, after checking that it works here.

        Raises:
            ToolError: this user may not make a network namespace.

        """
        isolated = self.without_network()
        completed = await isolated.run(["nix", "--version"])
        if completed.returncode != 0:
            raise ToolError(
                f"a process cannot be run without a network here: {completed.last_words}",
                hint="run it as root, or let ordinary users make user namespaces "
                "(sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces=10000)",
            )
        return isolated

    async def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run one of Nix's programs to its end; ``environment`` adds to Nix's own.

        ``command[0]`` is its name (``nix``, ``nix-store``, ``nix-instantiate``, …).

        Raises:
            ArgumentError: no program can be given such arguments.
            ToolError: the program is not there or cannot be started.

        """
        async with self.process(command, environment=environment, input_pipe=stdin is not None) as (
            process
        ):
            stdout, stderr = await process.communicate(stdin)
        return _completed(command, process, stdout, stderr)

    @contextlib.asynccontextmanager
    async def process(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        input_pipe: bool = True,
    ) -> AsyncIterator[Process]:
        """Start one of Nix's programs with pipes; it is stopped when the context is left.

        Raises:
            ArgumentError: no program can be given such arguments.
            ToolError: the program is not there or cannot be started.

        """
        name, *arguments = command
        path = self.program if name == "nix" else self._sibling(name)
        if name == "nix" and arguments and not arguments[0].startswith("--version"):
            arguments = [*_FEATURES, *arguments]
        async with contextlib.AsyncExitStack() as stack:
            try:
                process = await stack.enter_async_context(
                    started(
                        [*self.prefix, path, *arguments],
                        stdin=PIPE if input_pipe else DEVNULL,
                        stdout=PIPE,
                        stderr=PIPE,
                        environment={**self.environment, **(environment or {})},
                    )
                )
            except OSError as error:
                raise _not_started(path, arguments, error) from error
            yield process

    def _sibling(self, name: str) -> str:
        path = shutil.which(name, path=self.environment.get("PATH"))
        if path is None:
            raise ToolError(f"there is a `nix`, but no `{name}`, on PATH", hint=INSTALL_HINT)
        return path


def _not_started(path: str, arguments: Sequence[str], error: OSError) -> PrefetchError:
    reason = error.strerror or str(error)
    if error.errno in {errno.E2BIG, errno.EINVAL}:
        longest = max(arguments, key=len, default="")
        shown = f"{longest[:_SHOWN]}…" if len(longest) > _SHOWN else longest
        return ArgumentError(
            f"Nix cannot be given {shown!r} ({len(longest)} characters): {reason}",
            hint="one argument of a program has room for 131071 bytes on Linux",
        )
    hint = _START_HINTS.get(error.errno or 0, "check that this user can run it")
    return ToolError(f"{path} cannot be started: {reason}", hint=hint)


def _completed(command: Sequence[str], process: Process, stdout: bytes, stderr: bytes) -> Completed:
    return Completed(
        arguments=tuple(command),
        returncode=-1 if process.returncode is None else process.returncode,
        stdout=stdout,
        stderr=stderr.decode(errors="replace"),
    )
