"""Git repositories as chance makes them, with what is asked of them.

A world is three bare repositories: ``outer`` has ``middle`` for a submodule, and that ``leaf``,
in ways that are right or wrong. Their files are what checkouts get wrong: attributes of all kinds,
line ends, names that are no text, links, x bits. One seed makes one world.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mirror.planning.fetchers.fixed_outputs import GitCheckout
from rig.git_servers import KINDS, NOBODYS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from random import Random

Entry = tuple[bytes, bytes]
"""A mode, and a file's content, a link's target, or a commit's hash."""

_WHO: Final = {
    f"GIT_COMMITTER_{what}": text
    for what, text in (("NAME", "a"), ("EMAIL", "a@example.org"), ("DATE", "1700000000 +0000"))
}
_PLAIN, _EXECUTABLE, _LINK, _GITLINK = b"100644", b"100755", b"120000", b"160000"
_NAMES: Final = (
    *(b"README", b"readme", b"a.txt", b"b.bin", b"c.id", b"d.w", b"run.sh", b"-dash", b"sp ace"),
    *(b"d\xe9j\xe0", "dé".encode(), b"tab\t", b"line\nbreak", b'quo"te', b"back\\slash", b"#"),
    *(b".gitignore", b".gitkeep", b"git", b"x.git", b"CON", b"n" * 255),
)
_DIRECTORIES: Final = (b"", b"", b"", b"src/", b"src/deep/er/", b"\xff/", b"docs/", b"build/")
_CONTENTS: Final = (
    *(b"", b"x", b"a\nb\n", b"a\r\nb\r\n", b"a\nb\r\n", b"a\r\n\0b\n", b"\xef\xbb\xbfbom\n"),
    *(b"$Id$\n", b"$Id: old $\r\n", b"$Format:%H %d$\n", "ä\nö\n".encode(), b"\xe4\n", b"*\n!x\n"),
    *(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1\n",
        b"y" * 70_000,
    ),
)
_TARGETS: Final = (b"README", b"../..", b"/etc/passwd", b"nowhere", b"\xff", b"a/./b//c", b"src")
_ATTRIBUTES: Final = (
    *(b"* text=auto", b"*.txt text eol=crlf", b"* text eol=lf", b"*.bin binary", b"*.id ident"),
    *(b"*.w working-tree-encoding=UTF-16LE", b"*.w working-tree-encoding=nonsense", b"* -text"),
    *(b"* filter=lfs diff=lfs merge=lfs -text", b"README export-subst export-ignore"),
    *(b"[attr]windows text eol=crlf", b"* windows", b"src/** text eol=crlf", b"d* crlf=input"),
    *(b'"sp ace" text eol=crlf', b"\xff/* ident", b"*", b"!x text", b"run.sh eol=crlf"),
)
_SUBMODULE_URLS: Final = (
    *("../{name}.git", "../{name}.git", "../{name}.git", "./../{name}.git", "{base}/{name}.git"),
    *("{base}/all/../{name}.git", "../nowhere.git", "file://{directory}/{name}.git"),
    *("{directory}/{name}.git", "-x", "ssh://127.0.0.1:1/x", "ext::true", ""),
)
_SUBMODULE_LINES: Final = (
    *(
        b"",
        b"",
        b"",
        b"",
        b"update = none",
        b"update = rebase",
        b"update = merge",
        b"shallow = true",
    ),
    *(b"branch = main", b"branch = .", b"ignore = all", b"active = false"),
)
_PATTERNS: Final = (
    *(("src",), ("src/deep", "docs"), ("/src/",), ("build", "nowhere"), ("mod",), ("src/deep/er",)),
    *(("*.txt",), ("/*", "!/src"), ("README", " docs"), ("#", "src", ""), ("!src",), ("src\\",)),
)
_ROOTS: Final = ("src", "src/deep", "README", "docs", "mod", "nowhere", "a.txt", "./src", "link")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A repository and what is asked of it; ``meant`` is the object that is meant, if any is."""

    repository: str
    origin: GitCheckout
    meant: str | None


@dataclass(slots=True)
class World:
    """The repositories in ``directory``, which are served at ``url``."""

    directory: Path
    url: str
    random: Random
    meanings: dict[str, dict[str, str | None]] = field(default_factory=dict)
    """Of each repository, what can be asked for, and the object that it means."""

    def make(self) -> None:
        """Make the repositories."""
        leaf = self._repository("leaf", [])
        middle = self._repository("middle", [("leaf", leaf)])
        self._repository("outer", [("middle", middle), ("leaf", leaf)])

    def ask(self) -> Asked:
        """Ask for something."""
        draw = self.random.choice
        repository = draw(("outer", "outer", "middle", "leaf"))
        revision = draw(list(self.meanings[repository]))
        kind = draw((*KINDS, *KINDS, "file"))
        base = self.directory.as_uri() if kind == "file" else f"{self.url}/{kind}"
        is_sparse, has_root = draw(((False, False), (False, False), (True, False), (True, True)))
        root = draw(_ROOTS) if has_root else ""
        is_cone = not has_root and draw((True, False))
        return Asked(
            repository=repository,
            meant=self.meanings[repository][revision],
            origin=GitCheckout(
                url=f"{base}/{repository}.git",
                revision=revision,
                # Whether a submodule may be a directory of this machine is another matter.
                submodules=kind != "file" and draw((True, False)),
                sparse_checkout=(root,) if has_root else draw(_PATTERNS) if is_sparse else (),
                sparse_cone=is_cone,
                root_directory=root,
            ),
        )

    def _repository(self, name: str, inner: Sequence[tuple[str, list[str]]]) -> list[str]:
        """Make a repository with some of ``inner`` for submodules; the hashes of its commits."""
        made = Bare(self.directory / f"{name}.git")
        for branch in ("main", "main", "main", "pull", "pull", "merge"):
            made.commit(branch, self._changes(inner))
        made.blob(b"nobody's")
        first, second, third, fourth, fifth, sixth, blob = made.end()
        references = {
            "refs/heads/main-2": first,
            "refs/heads/12345678": first,
            "refs/tags/light": second,
            "refs/pull/1/head": fifth,
            "refs/merge-requests/2/head": sixth,
            "refs/tags/blob": blob,
        }
        for reference, digits in references.items():
            made.git("update-ref", reference, digits)
        for branch in ("pull", "merge"):
            made.git("update-ref", "-d", f"refs/heads/{branch}")
        tree = made.git("rev-parse", f"{second}^{{tree}}")
        made.git("update-ref", "refs/tags/tree", tree)
        for tag, tagged in (("v1", second), ("v1.1", third), ("again", "v1"), ("of-tree", tree)):
            made.git("tag", "--annotate", "--message=x", tag, tagged)
        if self.random.random() < 0.3:
            made.git("symbolic-ref", "HEAD", "refs/heads/absent")
            head = None
        else:
            head = third
        made.git("update-server-info")
        tag, tree_tag, pulled = made.git("rev-parse", "v1", "of-tree", f"{fifth}^{{tree}}").split()
        meanings: dict[str, str | None] = {
            "HEAD": head,
            "refs/heads/main": third,
            "main": third,
            "12345678": first,
            "v1": second,
            "refs/tags/v1": second,
            "v1^{}": second,
            "again": second,
            "refs/tags/light": second,
            "lig": second,
            "refs/heads/mai": third,
            "refs/pull/1/head": fifth,
            "refs/merge-requests/2/head": sixth,
            "tree": tree,
            "of-tree": tree,
            tree_tag: tree,
        }
        hashes = (first, second, third, fourth, fifth, sixth, tag, tree, pulled)
        abbreviated = ((first, 39), (second, 8), (third, 11), (tag, 12))
        nothing = (blob, "blob", "refs/x", "main:src", "v1^{tree}", "nowhere", "0" * 40)
        self.meanings[name] = {
            **meanings,
            **{digits: digits for digits in hashes},
            **{digits[:size]: digits for digits, size in abbreviated},
            **dict.fromkeys(nothing),
        }
        return [first, second, third]

    def _changes(self, inner: Sequence[tuple[str, list[str]]]) -> dict[bytes, Entry]:
        """The files of a commit, among which those of the one before it stay."""
        random = self.random
        changes: dict[bytes, Entry] = {}
        for _ in range(random.randint(2, 8)):
            path = random.choice(_DIRECTORIES) + random.choice(_NAMES)
            mode = random.choice((_PLAIN, _PLAIN, _EXECUTABLE))
            changes[path] = mode, random.choice(_CONTENTS)
        if random.random() < 0.5:
            changes[random.choice((b"link", b"src/link"))] = _LINK, random.choice(_TARGETS)
        if random.random() < 0.7:
            lines = random.choices(_ATTRIBUTES, k=random.randint(1, 4))
            where = random.choice((b"", b"", b"src/"))
            changes[where + b".gitattributes"] = _PLAIN, b"\n".join(lines) + b"\n"
        if inner and random.random() < 0.8:
            changes |= self._submodules(inner)
        return changes

    def _submodules(self, inner: Sequence[tuple[str, list[str]]]) -> dict[bytes, Entry]:
        random = self.random
        text = b""
        changes: dict[bytes, Entry] = {}
        for number, (name, commits) in enumerate(inner):
            path = (b"mod", b"lib/in ner")[number]
            # Most of the time all is well, or nothing could be compared.
            is_well = random.random() < 0.85
            urls = _SUBMODULE_URLS[: 5 if is_well else None]
            url = random.choice(urls).format(base=self.url, directory=self.directory, name=name)
            line = random.choice(_SUBMODULE_LINES[: 10 if is_well else None])
            commit = random.choice(commits if is_well else [*commits, "1" * 40])
            title = random.choice((path, b"other name %d" % number))
            text += b'[submodule "%s"]\n' % title
            text += b"path = %s\nurl = %s\n%s\n" % (path, os.fsencode(url), line)
            changes[path] = _GITLINK, commit.encode()
        if random.random() < 0.95:
            changes[b".gitmodules"] = _PLAIN, text
        return changes


class Bare:
    """A bare repository, of what ``git fast-import`` is told."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True)
        self.git("init", "--quiet", "--bare", "--initial-branch=main")
        self._commands: list[bytes] = []
        self._marks = 0

    def commit(self, branch: str, changes: dict[bytes, Entry]) -> None:
        """Add a commit to a branch, which may be a new one without a history."""
        self._marks += 1
        self._say(b"commit refs/heads/%s\nmark :%d" % (branch.encode(), self._marks))
        self._say(b"committer A <a@example.org> %d +0000" % (1_700_000_000 + self._marks))
        self._data(b"x\n")
        for path, (mode, content) in changes.items():
            quoted = path.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
            what = content if mode == _GITLINK else b"inline"
            self._say(b'M %s %s "%s"' % (mode, what, quoted))
            if mode != _GITLINK:
                self._data(content)

    def blob(self, content: bytes) -> None:
        """Add a file's content that no commit has."""
        self._marks += 1
        self._say(b"blob\nmark :%d" % self._marks)
        self._data(content)

    def end(self) -> list[str]:
        """Make it all; the hashes of what was added."""
        for mark in range(1, self._marks + 1):
            self._say(b"get-mark :%d" % mark)
        return self.git("fast-import", "--quiet", stdin=b"".join(self._commands)).split()

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run git in the repository; what it prints."""
        completed = subprocess.run(
            ["git", *arguments],
            cwd=self._directory,
            env={**NOBODYS, **_WHO},
            input=stdin,
            capture_output=True,
            check=True,
        )
        return completed.stdout.decode().strip()

    def _say(self, line: bytes) -> None:
        self._commands.append(line + b"\n")

    def _data(self, content: bytes) -> None:
        self._commands.append(b"data %d\n%s\n" % (len(content), content))
