"""A revision's tree, as nixpkgs' ``nix-prefetch-git`` checks it out.

What that takes is taken here, with the same files: commits, trees and tags by their hash, also
abbreviated, tags by their name, any reference; from servers that give every object, only what
references name, or only plain files. A revision is first asked for alone, since that is the least
to download, then in each other way that some server knows. What comes out is judged by its hash,
as everything is.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiofiles

from mirror.curl.settings import CurlSettings
from mirror.errors import NotAvailableError, SourceError, TransientError
from mirror.formats.nar import Directory, Node
from mirror.nix.file_tree import tree
from mirror.sources.addresses import is_public
from mirror.sources.git.bounds import bounded
from mirror.sources.git.program import Git, UnreachableError, environment
from mirror.sources.git.tunnel import tunnel_for
from mirror.sources.origins.made import DOWNLOAD_CAP

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.planning.fetchers.fixed_outputs import GitCheckout

TIME_LIMIT: Final = 3600.0
"""How many seconds one repository may take."""

_NOBODYS: Final = CurlSettings(is_public=is_public)
_OBJECT_FORMATS: Final = {40: "sha1", 64: "sha256"}
"""By how many digits a hash has."""

_HASH: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ABBREVIATION: Final = re.compile(r"[0-9a-f]{4,63}")
_NO_REVISION: Final = re.compile(r"|-.*|.*[\x00-\x20:*?\[\\\x7f].*", re.DOTALL)
_FETCHED: Final = "FETCH_HEAD"
_ONLY_WHAT_IS_NAMED: Final = "Server does not allow request for unadvertised object"


async def checkout(
    origin: GitCheckout,
    directory: Path,
    settings: CurlSettings = _NOBODYS,
    *,
    time_limit: float = TIME_LIMIT,
    size_limit: int = DOWNLOAD_CAP,
) -> Node:
    """The tree of a revision without any ``.git``; its files are in ``directory``, which is empty.

    Of the ``settings`` the netrc file and the certificates count, and which IP addresses are of the
    public internet: a server there leads nowhere else. The limits are in seconds, and in bytes on
    the disk.

    Raises:
        NotAvailableError: there is no git, or the repository does not have it.
        TransientError: the repository cannot be reached, fails, or took too long.
        IntegrityError: it is too large.

    """
    program = shutil.which("git")
    if program is None:
        raise NotAvailableError(
            f"{origin.url}: there is no `git` on this machine's PATH", hint="install git"
        )
    if _NO_REVISION.fullmatch(origin.revision):
        raise NotAvailableError(f"{origin.url}: not a revision: {origin.revision!r}")
    for text in (origin.url, origin.revision, origin.root_directory, *origin.sparse_checkout):
        try:
            os.fsencode(text)
        except UnicodeError as error:
            raise NotAvailableError(f"{text!r} cannot be passed to git") from error
    async with (
        bounded(directory, origin.url, seconds=time_limit, size=size_limit),
        tunnel_for(origin.url, settings.is_public) as tunnel,
    ):
        url, variables = environment(origin.url, directory / "home", settings, tunnel)
        git = Git(program, directory / "tree", variables, tunnel)
        await _Checkout(git, origin, url).fill()
    try:
        return await asyncio.to_thread(_tree, git.directory, origin.root_directory)
    except (OSError, ValueError) as error:
        raise NotAvailableError(f"{origin.url}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Way:
    """What to fetch, with its history or ``alone``, and what the revision is called thereafter."""

    what: tuple[str, ...]
    name: str = _FETCHED
    alone: bool = False


_BRANCHES_AND_TAGS: Final = ("+refs/heads/*:refs/all/heads/*", "+refs/tags/*:refs/all/tags/*")
_ALL_REFERENCES: Final = ("+refs/*:refs/all/*",)


@dataclass(frozen=True, slots=True)
class _Checkout:
    """A checkout of ``origin`` in git's directory; ``url`` is its URL without credentials."""

    git: Git
    origin: GitCheckout
    url: str
    failures: list[SourceError] = field(default_factory=list)

    async def fill(self) -> None:
        """Fill the directory with the revision's files, and with those of its submodules."""
        revision = self.origin.revision
        if _HASH.fullmatch(revision):
            found = await self._by_hash(revision)
        elif _ABBREVIATION.fullmatch(revision):
            found = await self._by_abbreviation(revision)
        elif revision == "HEAD" or revision.startswith("refs/"):
            found = await self._by_name(revision)
        else:
            found = await self._by_name(f"refs/tags/{revision}", branch=f"refs/heads/{revision}")
        await self.git.run("read-tree", "--reset", "-u", f"{found}^{{tree}}")
        if self.origin.submodules:
            await self._fill_submodules()

    async def _by_hash(self, digits: str) -> str:
        """Fetch the commit, tag or tree of this hash."""
        await self._begin(_OBJECT_FORMATS[len(digits)])
        if await self._works(_Way((digits,), alone=True)):
            return _FETCHED
        only_what_is_named = _ONLY_WHAT_IS_NAMED in self.failures[-1].message
        # Plain files know no shallow clones, but each object by its hash.
        if await self._works(_Way((digits,))):
            return _FETCHED
        if await self._works(_Way(_BRANCHES_AND_TAGS, digits)) or (
            only_what_is_named and await self._works(_Way(_ALL_REFERENCES, digits))
        ):
            return digits
        raise self._failure()

    async def _by_name(self, name: str, *, branch: str | None = None) -> str:
        """Fetch what a reference names, or a branch where there is no such reference.

        As for nix-prefetch-git, a reference whose name only begins so is as good.
        """
        await self._begin(_OBJECT_FORMATS[40])
        if await self._works(_Way((name,), alone=True)):
            return _FETCHED
        digits = await self._listed(rb"(\w+)\t" + re.escape(os.fsencode(name)))
        if digits is None and branch is not None:
            digits = await self._listed(rb"(\w+)\t" + re.escape(os.fsencode(branch)) + rb"\n")
        if digits is None:
            raise self._failure()
        return await self._by_hash(digits)

    async def _by_abbreviation(self, abbreviation: str) -> str:
        """Fetch the object whose hash begins so, or what has that for its name."""
        await self._begin(_OBJECT_FORMATS[40])
        name = abbreviation.encode()
        for pattern in (rb"(%s\w+)\t" % name, rb"(\w+)\trefs/(?:tags|heads)/%s\n" % name):
            digits = await self._listed(pattern)
            if digits is not None:
                return await self._by_hash(digits)
        if await self._works(_Way(_BRANCHES_AND_TAGS, abbreviation)):
            return abbreviation
        raise self._failure()

    async def _begin(self, object_format: str) -> None:
        """Make an empty repository, in place of one that was made before."""
        await asyncio.to_thread(shutil.rmtree, self.git.directory, ignore_errors=True)
        await asyncio.to_thread(self.git.directory.mkdir)
        await self.git.run("init", "--quiet", f"--object-format={object_format}", ".")
        await self.git.see_settings()
        await self.git.run("remote", "add", "origin", self.url)
        patterns = self.origin.sparse_checkout
        if patterns:
            mode = "--cone" if self.origin.sparse_cone else "--no-cone"
            file = self.git.directory / ".git" / "patterns"
            text = "".join(f"{pattern}\n" for pattern in patterns)
            async with aiofiles.open(file, "wb") as patterns_file:
                await patterns_file.write(os.fsencode(text))
            await self.git.run("sparse-checkout", "set", mode, "--stdin", stdin=file)

    async def _works(self, way: _Way) -> bool:
        """Whether the revision can be fetched this way, as it is then; why not is kept.

        Raises:
            UnreachableError: no way works.

        """
        options = ["--depth=1"] if way.alone else []
        try:
            if self.origin.sparse_checkout and way.alone:
                # Files that are not to be there need not be downloaded either.
                options.append("--filter=blob:none")
            elif self.origin.sparse_checkout:
                # A server of plain files would be asked for what is missing without an end.
                await self.git.run("remote", "remove", "origin")
                await self.git.run("remote", "add", "origin", self.url)
            await self.git.run("fetch", "--quiet", "--no-tags", *options, "origin", *way.what)
        except UnreachableError:
            raise
        except SourceError as error:
            self.failures.append(error)
            return False
        try:
            await self.git.run("rev-parse", "--quiet", "--verify", f"{way.name}^{{tree}}")
        except NotAvailableError:
            revision = self.origin.revision
            self.failures.append(
                NotAvailableError(f"{revision} is not a commit, tag or tree there")
            )
            return False
        return True

    def _failure(self) -> SourceError:
        """Why no way works: the last error, or the last one that may be temporary."""
        transient = (each for each in reversed(self.failures) if isinstance(each, TransientError))
        return next(transient, self.failures[-1])

    async def _listed(self, pattern: bytes) -> str | None:
        """The hash, a pattern's group, of the first of the server's references that matches."""
        file = self.git.directory / ".git" / "listed"
        if not await asyncio.to_thread(file.exists):
            await self.git.run("ls-remote", "--quiet", "origin", stdout=file)
        return await asyncio.to_thread(_first_match, file, re.compile(pattern))

    async def _fill_submodules(self) -> None:
        """Fill the directories of submodules, of theirs, and so on."""
        update = ("submodule", "--quiet", "update", "--init", "--recursive", "--checkout")
        try:
            await self.git.run(*update, "--depth=1")
        except UnreachableError:
            raise
        except SourceError:
            # What is cloned without its history is not completed by asking again.
            await self.git.run("submodule", "--quiet", "deinit", "--all", "--force")
            modules = self.git.directory / ".git" / "modules"
            await asyncio.to_thread(shutil.rmtree, modules, ignore_errors=True)
            await self.git.run(*update, "--no-recommend-shallow")


def _first_match(file: Path, pattern: re.Pattern[bytes]) -> str | None:
    with file.open("rb") as lines:
        matches = map(pattern.match, lines)
        return next((match[1].decode() for match in matches if match), None)


def _tree(directory: Path, root_directory: str) -> Node:
    """The tree at a directory, a file or a link of the checkout.

    Raises:
        FormatError: it is nested deeper than Nix accepts.
        OSError: there is none, or it is outside.
        ValueError: no file is called so.

    """
    top = directory.resolve()
    parts = [part for part in root_directory.split("/") if part not in {"", "."}]
    if ".git" in parts:
        raise FileNotFoundError(f"{root_directory} is not in the tree")
    *above, last = parts or [""]
    root = directory.joinpath(*above).resolve(strict=True) / last
    if last == ".." or not (root == top or root.is_relative_to(top)):
        raise FileNotFoundError(f"{root_directory} is outside of the tree")
    return _without_git(tree(root))


def _without_git(node: Node) -> Node:
    """The tree without what is called ``.git``, at any depth: submodules have one too."""
    if not isinstance(node, Directory):
        return node
    return Directory(
        {name: _without_git(entry) for name, entry in node.entries.items() if name != b".git"}
    )
