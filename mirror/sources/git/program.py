"""The host's ``git``, run without any settings: the one place that starts it.

It reads no file of settings or attributes but the repository's own, runs no hooks, asks nobody, and
uses only the transports that the URL gives reason for.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import shlex
import sys
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from mirror.errors import NotAvailableError, SourceError, TransientError
from mirror.sources.git import connect
from mirror.sources.origins.made import MORE_ROOM
from mirror.system.plain_files import is_file
from mirror.system.processes import started
from mirror.trust import Certificates

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.curl.settings import CurlSettings
    from mirror.sources.git.tunnel import Tunnel

_FULL: Final = os.strerror(errno.ENOSPC)
_LITTLE: Final = 1 << 20
_LAST_WORDS: Final = 8192
_TRANSPORTS: Final = {
    "http": ("http", "https", "git"),
    "https": ("http", "https", "git"),
    "git": ("http", "https", "git"),
    "ssh": ("http", "https", "git", "ssh"),
    "file": ("http", "https", "git", "ssh", "file"),
}
"""What may be used for a repository and its submodules, by the scheme of its own URL."""

_SCP_LIKE: Final = re.compile(r"[A-Za-z0-9_.][\w.-]*@[\w.-]+:.+")
_KEPT: Final = re.compile(
    r"PATH|TMPDIR|SSH_AUTH_SOCK|(https?|ftp|all|no)_proxy|(HTTPS?|ALL|NO)_PROXY"
)
_CONFIGURATION: Final = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.autocrlf": "false",
    "core.symlinks": "true",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "fetch.recurseSubmodules": "false",
    # Servers are silent, save for a few bytes at times, while they look for what to send.
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "300",
}
_CREDENTIAL_HELPER: Final = (
    '!f() { printf "username=%s\\npassword=%s\\n" '
    '"$PREFETCH_GIT_USER" "$PREFETCH_GIT_PASSWORD"; }; f'
)
"""What git asks for the user and password of a host, and runs by the shell."""

_NO_CONNECTION: Final = re.compile(
    r"(could not|couldn't) resolve|unable to look up|failed to connect|couldn't connect|"
    r"unable to connect|connection (refused|timed out)|no route to host|network is unreachable|"
    r"complete SOCKS5",
    re.IGNORECASE,
)
_FAILURE: Final = re.compile(
    r"returned error: (408|429|5\d\d)|RPC failed|early EOF|unexpected disconnect|"
    r"empty reply|operation too slow|connection reset|transfer closed|recv failure",
    re.IGNORECASE,
)
_NO_ENTRY: Final = re.compile(r"Authentication failed|could not read (Username|Password)")
"""What git says, in its own language, of servers: no way to them, a failure, a password lacking."""

_PRIVATE: Final = "if it is private, put the host's credentials into the netrc file"


class UnreachableError(TransientError):
    """No connection could be made, so other requests would fail as well."""


@dataclass(frozen=True, slots=True)
class Git:
    """Git in one working directory; ``tunnel`` is what its connections go through, if any."""

    program: str
    directory: Path
    environment: dict[str, str]
    tunnel: Tunnel | None = None

    async def run(
        self, *arguments: str, stdin: Path | None = None, stdout: Path | None = None
    ) -> None:
        """Run git to its end; it and what it started are stopped when this is cancelled.

        ``stdin`` is a file that it reads, ``stdout`` one for what it prints.

        Raises:
            UnreachableError: there is no connection to a server.
            TransientError: a server failed.
            NotAvailableError: git failed otherwise. The text ends with its own words.

        """
        with contextlib.ExitStack() as stack:
            read = None if stdin is None else stack.enter_context(stdin.open("rb"))
            printed = None if stdout is None else stack.enter_context(stdout.open("w"))
            try:
                async with started(
                    [self.program, *arguments],
                    stdin=DEVNULL if read is None else read.fileno(),
                    stdout=printed or DEVNULL,
                    stderr=PIPE,
                    environment=self.environment,
                    directory=self.directory,
                ) as process:
                    words = await _last_words(process.stderr)
                    code = await process.wait()
            except OSError as error:
                raise NotAvailableError(f"git {arguments[0]}: {error.strerror}") from error
        if code != 0:
            raise await self._failure(arguments[0], words or str(code))

    async def see_settings(self) -> None:
        """Check that git reads settings from its environment, on which its safety depends.

        Raises:
            NotAvailableError: it is too old for that.

        """
        try:
            await self.run("config", "--get", "core.hooksPath")
        except NotAvailableError as error:
            raise NotAvailableError(
                "this machine's `git` takes no settings from its environment",
                hint="install git 2.31 or later",
            ) from error

    async def _failure(self, command: str, words: str) -> SourceError:
        if _FULL in words or await asyncio.to_thread(_is_full, self.directory):
            words += f"; there is too little room at {self.directory}: {MORE_ROOM}"
        text = f"git {command}: {words}"
        if self.tunnel is not None:
            text += "".join(f"; {host}: {why}" for host, why in self.tunnel.lost.items())
            if self.tunnel.refused:
                where = " and ".join(sorted(self.tunnel.refused))
                return NotAvailableError(
                    f"{text}; not followed from the public internet into a private network: {where}"
                )
        if _NO_CONNECTION.search(words):
            return UnreachableError(text)
        if _FAILURE.search(words):
            return TransientError(text)
        return NotAvailableError(text, hint=_PRIVATE if _NO_ENTRY.search(words) else None)


def environment(
    url: str, home: Path, settings: CurlSettings, tunnel: Tunnel | None
) -> tuple[str, dict[str, str]]:
    """A URL without its user and password, and all of git's environment, which has them.

    Every user of the machine sees the arguments of processes, and only its owner their environment.
    They are given to no other host. ``home`` is made: a home that has nothing of the user's but the
    netrc file.

    Raises:
        NotAvailableError: the URL is of another scheme than git's usual ones, or its user or
            password has a line break or the like.

    """
    transports = _TRANSPORTS.get(_scheme(url))
    if transports is None:
        raise NotAvailableError(f"{url}: not a URL for git")
    configuration = dict(_CONFIGURATION)
    variables = {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}
    if tunnel is not None:
        configuration["http.proxy"] = tunnel.url
        variables = {n: value for n, value in variables.items() if not n.lower().endswith("_proxy")}
    parts = urlsplit(url)
    if parts.scheme in {"http", "https"} and "@" in parts.netloc:
        user, _, host = parts.netloc.rpartition("@")
        name, _, password = (unquote(each) for each in user.partition(":"))
        if not (name + password).isprintable():
            raise NotAvailableError(f"{url}: its user or password has what no git is told")
        url = parts._replace(netloc=host).geturl()
        configuration[f"credential.{parts.scheme}://{host}.helper"] = _CREDENTIAL_HELPER
        variables |= {"PREFETCH_GIT_USER": name, "PREFETCH_GIT_PASSWORD": password}
    home.mkdir(parents=True)
    if tunnel is not None:
        variables |= _connecting(tunnel, home / "connect")
    if settings.netrc is not None and is_file(settings.netrc):
        (home / ".netrc").symlink_to(settings.netrc.absolute())
    certificates = settings.certificates or Certificates()
    if certificates.file is not None:
        variables["GIT_SSL_CAINFO"] = str(certificates.file)
    if certificates.directory is not None:
        variables["GIT_SSL_CAPATH"] = str(certificates.directory)
    return url, {
        **variables,
        **_as_variables(configuration),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TEMPLATE_DIR": "",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
        "GIT_ALLOW_PROTOCOL": ":".join(transports),
    }


def _connecting(tunnel: Tunnel, file: Path) -> dict[str, str]:
    """Have git connect to git:// addresses through the tunnel, too, by a program in ``file``."""
    command = shlex.join([sys.executable, "-I", "-S", connect.__file__])
    file.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    file.chmod(0o700)
    return {"GIT_PROXY_COMMAND": str(file), connect.TUNNEL: tunnel.url}


def _scheme(url: str) -> str:
    try:
        return "ssh" if _SCP_LIKE.fullmatch(url) else urlsplit(url).scheme
    except ValueError:
        return ""


def _as_variables(configuration: dict[str, str]) -> dict[str, str]:
    """Configuration as git takes it from its environment, and hands it on to submodules."""
    variables = {"GIT_CONFIG_COUNT": str(len(configuration))}
    for number, (name, value) in enumerate(configuration.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


async def _last_words(stream: asyncio.StreamReader | None) -> str:
    """The last words of a program's output, in one line of limited length."""
    assert stream is not None
    kept = b""
    while piece := await stream.read(_LAST_WORDS):
        kept = (kept + piece)[-_LAST_WORDS:]
    return " ".join(kept.decode(errors="replace").split())


def _is_full(directory: Path) -> bool:
    """Whether the disk is nearly full: git does not always report that."""
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize < _LITTLE or (status.f_files > 0 == status.f_favail)
