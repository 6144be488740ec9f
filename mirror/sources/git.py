"""Git revisions as trees, through the host's ``git``: the one place that starts it.

It runs with nobody's settings, no hooks, no prompt, and only the usual transports. A revision is
asked for alone first, as most servers allow; where that is refused all branches and tags are
fetched. What comes out is judged by its hash, as everything is.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from mirror.errors import FormatError, NotAvailableError, TransientError
from mirror.formats.nar import Directory, Node
from mirror.plain_files import is_file
from mirror.processes import started
from mirror.sources.filesystem import tree
from mirror.sources.made import MORE_ROOM

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.planning.fixed_outputs import GitCheckout

TIME_LIMIT: Final = 3600.0
"""How many seconds one repository may take."""

_FULL: Final = os.strerror(errno.ENOSPC)
_LITTLE: Final = 1 << 20
_SCHEMES: Final = ("http", "https", "git", "ssh")
_SCP_LIKE: Final = re.compile(r"[A-Za-z0-9_.][\w.-]*@[\w.-]+:.+")
_KEPT: Final = re.compile(
    r"PATH|TMPDIR|SSH_AUTH_SOCK|SSL_CERT_(FILE|DIR)|GIT_SSL_CAINFO|NIX_SSL_CERT_FILE"
    r"|(https?|ftp|all|no)_proxy|(HTTPS?|ALL|NO)_PROXY"
)
_SETTINGS: Final = (
    *("-c", "advice.detachedHead=false"),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.autocrlf=false"),
    *("-c", "core.symlinks=true"),
    *("-c", "gc.auto=0"),
    *("-c", "fetch.recurseSubmodules=false"),
)
_CREDENTIAL_HELPER: Final = (
    '!f() { printf "username=%s\\npassword=%s\\n" '
    '"$PREFETCH_GIT_USER" "$PREFETCH_GIT_PASSWORD"; }; f'
)
"""What git asks for the user and password of a host, and runs by the shell."""


async def checkout(
    origin: GitCheckout,
    directory: Path,
    *,
    netrc: Path | None = None,
    time_limit: float = TIME_LIMIT,
) -> Node:
    """The tree of a revision without any ``.git``; its files are in ``directory``, which is empty.

    Raises:
        NotAvailableError: there is no git, or the repository does not have it.
        TransientError: the repository took too long.

    """
    program = shutil.which("git")
    if program is None:
        raise NotAvailableError(
            f"{origin.url}: there is no `git` on this machine's PATH", hint="install git"
        )
    if origin.lfs:
        raise NotAvailableError(f"{origin.url}: git-lfs files are left to the builder")
    if origin.revision.startswith("-") or not origin.revision:
        raise NotAvailableError(f"{origin.url}: not a revision: {origin.revision!r}")
    environment = _environment(origin.url, directory / "home", netrc)
    url, credentials = _split_credentials(origin.url)
    git = _Git(program, directory / "tree", {**environment, **credentials})
    try:
        async with asyncio.timeout(time_limit):
            await git.prepare()
            await git.check_out(origin, url)
    except TimeoutError as error:
        raise TransientError(f"{origin.url}: took longer than {time_limit:.0f} s") from error
    root = git.directory / origin.root_directory
    if not root.resolve().is_relative_to(git.directory.resolve()):
        raise NotAvailableError(f"{origin.url}: {origin.root_directory} is outside of the tree")
    try:
        return _without_git(await asyncio.to_thread(tree, root))
    except (OSError, FormatError) as error:
        raise NotAvailableError(f"{origin.url}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Git:
    """Git in one working directory."""

    program: str
    directory: Path
    environment: dict[str, str]

    async def prepare(self) -> None:
        """Make an empty repository, and a home that has nothing of the user's."""
        home = self.environment["HOME"]
        await asyncio.to_thread(os.makedirs, home, exist_ok=True)
        await asyncio.to_thread(self.directory.mkdir)
        await self.run("init", "--quiet", "--template=", ".")

    async def check_out(self, origin: GitCheckout, url: str) -> None:
        """Fetch the revision from ``url`` and fill the working directory with it."""
        revision = origin.revision
        await self.run("remote", "add", "origin", url)
        if origin.sparse_checkout:
            mode = "--cone" if origin.sparse_cone else "--no-cone"
            patterns = "".join(f"{pattern}\n" for pattern in origin.sparse_checkout)
            await self.run("sparse-checkout", "set", mode, "--stdin", stdin=patterns.encode())
        try:
            await self.run("fetch", "--quiet", "--depth=1", "--no-tags", "origin", revision)
            found = "FETCH_HEAD"
        except NotAvailableError:
            await self.run(
                *("fetch", "--quiet", "--no-tags", "--update-head-ok", "origin"),
                *("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"),
            )
            found = revision
        await self.run("checkout", "--quiet", "--force", "--detach", found)
        if origin.submodules:
            update = ("submodule", "--quiet", "update", "--init", "--recursive")
            try:
                await self.run(*update, "--depth=1")
            except NotAvailableError:
                await self.run(*update)

    async def run(self, *arguments: str, stdin: bytes | None = None) -> None:
        """Run git to its end; it and what it started are stopped when this is cancelled.

        Raises:
            NotAvailableError: it failed; the text ends with its own words.

        """
        async with started(
            [self.program, *_SETTINGS, *arguments],
            stdin=DEVNULL if stdin is None else PIPE,
            stdout=DEVNULL,
            stderr=PIPE,
            environment=self.environment,
            directory=self.directory,
        ) as process:
            _, stderr = await process.communicate(stdin)
        if process.returncode != 0:
            words = " ".join(stderr.decode(errors="replace").split()) or str(process.returncode)
            if _FULL in words or await asyncio.to_thread(_is_full, self.directory):
                words += f"; there is too little room at {self.directory}: {MORE_ROOM}"
            raise NotAvailableError(f"git {arguments[0]}: {words}")


def _is_full(directory: Path) -> bool:
    """Whether there is next to nothing left: git does not always say that of its failures."""
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize < _LITTLE or (status.f_files > 0 == status.f_favail)


def _environment(url: str, home: Path, netrc: Path | None) -> dict[str, str]:
    """Git's own environment; only a file:// repository may name others by file.

    Raises:
        NotAvailableError: the URL is of another scheme than git's usual ones.

    """
    try:
        scheme = "ssh" if _SCP_LIKE.fullmatch(url) else urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme not in {*_SCHEMES, "file"}:
        raise NotAvailableError(f"{url}: not a URL that git is asked for")
    allowed = (*_SCHEMES, "file") if scheme == "file" else _SCHEMES
    if netrc is not None and is_file(netrc):
        home.mkdir(parents=True, exist_ok=True)
        (home / ".netrc").symlink_to(netrc.absolute())
    return {
        **{name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)},
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
        "GIT_ALLOW_PROTOCOL": ":".join(allowed),
    }


def _split_credentials(url: str) -> tuple[str, dict[str, str]]:
    """A URL without its user and password, and the environment that hands them to git.

    Every user of the machine sees the arguments of processes, and only its owner their environment.
    They are given to no other host.

    Raises:
        NotAvailableError: they have a line break, or the like.

    """
    parts = urlsplit(url) if url.startswith(("http://", "https://")) else None
    if parts is None or "@" not in parts.netloc:
        return url, {}
    user, _, host = parts.netloc.rpartition("@")
    name, _, password = (unquote(each) for each in user.partition(":"))
    if not (name + password).isprintable():
        raise NotAvailableError(f"{url}: its user or password has what no git is told")
    return parts._replace(netloc=host).geturl(), {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"credential.{parts.scheme}://{host}.helper",
        "GIT_CONFIG_VALUE_0": _CREDENTIAL_HELPER,
        "PREFETCH_GIT_USER": name,
        "PREFETCH_GIT_PASSWORD": password,
    }


def _without_git(node: Node) -> Node:
    """The tree without what is called ``.git``, at any depth: submodules have one too."""
    if not isinstance(node, Directory):
        return node
    return Directory(
        {name: _without_git(entry) for name, entry in node.entries.items() if name != b".git"}
    )
