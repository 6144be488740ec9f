"""Git repositories that would have this machine do something, as sources in a real sync.

They are served over HTTP, as whoever publishes one would; each is what its hash says, so that only
what git itself is told keeps it from being kept.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from rig.hostile import FETCHGIT, OriginCase

from mirror.formats import nar
from mirror.formats.hashes import Hash

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rig.hostile import Place
    from rig.village import Aftermath, Village

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nowhere",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "a"), ("EMAIL", "a@example.org"), ("DATE", "1700000000 +0000"))
    },
}
README = b"what is wanted"
GITLINK, EXECUTABLE, PLAIN, LINK, TREE = "160000", "100755", "100644", "120000", "40000"
NOWHERE = "1" * 40
Entries = dict[str, tuple[str, bytes]]


def git(repository: Path, *arguments: str, stdin: bytes = b"") -> str:
    command = ["git", "--git-dir", str(repository), *arguments]
    return (
        subprocess.run(command, env=ENVIRONMENT, input=stdin, check=True, stdout=subprocess.PIPE)
        .stdout.decode()
        .strip()
    )


def put(repository: Path, entries: Mapping[str, tuple[str, bytes]]) -> str:
    """A tree of these entries, be they such as git itself would refuse to make."""
    rows = []
    for name, (mode, content) in sorted(entries.items()):
        identity = content.decode()
        if mode not in {GITLINK, TREE}:
            identity = git(repository, "hash-object", "-w", "--stdin", stdin=content)
        rows.append(f"{mode} {name}\0".encode() + bytes.fromhex(identity))
    words = ("hash-object", "-t", "tree", "-w", "--stdin", "--literally")
    return git(repository, *words, stdin=b"".join(rows))


def serves(entries: Callable[[Place], Entries]) -> Callable[[Place], None]:
    """An origin that is a bare repository with one commit of these entries."""

    def serve(place: Place) -> None:
        place.server.files = place.directory / "www"
        repository = place.directory / "www" / place.name / "download"
        repository.parent.mkdir(parents=True)
        git(repository, "init", "--quiet", "--bare")
        mine = entries(place)
        tree = put(repository, {"README": (PLAIN, README), **mine})
        commit = git(repository, "commit-tree", tree, "-m", "x")
        git(repository, "update-ref", "refs/heads/main", commit)
        git(repository, "update-server-info")

    return serve


def marker(place: Place) -> Path:
    """A file that is there if the repository had its way."""
    return place.directory / f"{place.name}-was-here"


def submodule(
    url: Callable[[Place], str], *, name: str = "sub", more: str = ""
) -> Callable[[Place], None]:
    """A repository with a submodule from ``url``, and ``more`` lines that are about it."""

    def entries(place: Place) -> Entries:
        text = f'[submodule "{name}"]\n path = sub\n url = {url(place)}\n {more}\n'
        text = text.replace("MARKER", str(marker(place)))
        return {".gitmodules": (PLAIN, text.encode()), "sub": (GITLINK, NOWHERE.encode())}

    return serves(entries)


def own_repository(place: Place) -> str:
    """A repository of this machine, which is nobody's business."""
    repository = place.directory / f"{place.name}-private.git"
    git(repository, "init", "--quiet", "--bare")
    return str(repository)


def inner(place: Place, entries: Entries) -> tuple[str, bytes]:
    """A directory of these entries."""
    return TREE, put(place.directory / "www" / place.name / "download", entries).encode()


def smuggled(place: Place) -> Entries:
    """A ``.git`` of its own, whose settings and hooks run a command."""
    hook = f"#!/bin/sh\ntouch {marker(place)}\n".encode()
    settings = f'[core]\n fsmonitor = "touch {marker(place)}"\n'.encode()
    hooks = inner(place, {"post-checkout": (EXECUTABLE, hook)})
    return {".git": inner(place, {"config": (PLAIN, settings), "hooks": hooks})}


SETTINGS = b'[core]\n fsmonitor = "touch /nowhere"\n bare = true\n'
ATTRIBUTES = b"* filter=evil diff=evil merge=evil\n"


def bare_inside(place: Place) -> Entries:
    """A bare repository among the files, which a git that runs there would take for its own."""
    objects = inner(place, {"x": (PLAIN, b"")})
    return {
        "sub": inner(
            place,
            {
                "HEAD": (PLAIN, b"ref: refs/heads/main\n"),
                "config": (PLAIN, SETTINGS),
                "objects": objects,
                "refs": objects,
            },
        )
    }


def hash_of(entries: dict[bytes, nar.Node]) -> str:
    files = {b"README": nar.Regular.of(README), **entries}
    return Hash.of(b"".join(nar.serialize(nar.Directory(files)))).base16


X = nar.Directory({b"x": nar.Regular.of(b"")})
REFUSED = {
    "submodule-file": (submodule(lambda place: f"file://{own_repository(place)}"), "'file' not a"),
    "submodule-directory": (submodule(own_repository), "'file' not allowed"),
    "submodule-ssh": (submodule(lambda _: "ssh://127.0.0.1:1/x"), "'ssh' not allowed"),
    "submodule-ext": (
        submodule(lambda place: f'"ext::sh -c touch% {marker(place)}"'),
        "'ext' not allowed",
    ),
    "submodule-option": (
        submodule(lambda place: f"--upload-pack=touch {marker(place)}"),
        "may be interpreted as a command-line option",
    ),
    "submodule-command": (
        submodule(lambda _: "../../submodule-name/download", more="update = !touch MARKER"),
        "invalid value for 'submodule.sub.update'",
    ),
    "submodule-name": (
        submodule(lambda _: "../../submodule-file/download", name="../../../../evil"),
        "ignoring suspicious submodule name",
    ),
    "dot-git": (serves(smuggled), r"invalid path '\.git"),
    "dot-git-link": (serves(lambda _: {".git": (LINK, b"/etc")}), r"invalid path '\.git'"),
    "above": (
        serves(lambda place: {"..": inner(place, {"evil": (PLAIN, b"x")})}),
        r"invalid path '\.\./evil'",
    ),
    "slash": (serves(lambda _: {"a/../../evil": (PLAIN, b"x")}), "invalid path"),
}
ARRIVES: dict[str, tuple[Callable[[Place], None], dict[bytes, nar.Node]]] = {
    "bare-inside": (
        serves(bare_inside),
        {
            b"sub": nar.Directory(
                {
                    b"HEAD": nar.Regular.of(b"ref: refs/heads/main\n"),
                    b"config": nar.Regular.of(SETTINGS),
                    b"objects": X,
                    b"refs": X,
                }
            )
        },
    ),
    "attributes": (
        serves(lambda _: {".gitattributes": (PLAIN, ATTRIBUTES)}),
        {b".gitattributes": nar.Regular.of(ATTRIBUTES)},
    ),
    "outward": (
        serves(lambda _: {"link": (LINK, b"../../../etc")}),
        {b"link": nar.Symlink(b"../../../etc")},
    ),
}
REVISION = FETCHGIT + ' rev = "refs/heads/main";'
CASES = [
    *(
        OriginCase(name=name, serve=serve, said=said, attributes=REVISION, mode="recursive")
        for name, (serve, said) in REFUSED.items()
    ),
    *(
        OriginCase(
            name=name,
            serve=serve,
            said="",
            arrives=True,
            attributes=REVISION,
            mode="recursive",
            hash=hash_of(entries),
        )
        for name, (serve, entries) in ARRIVES.items()
    ),
]


@pytest.fixture(scope="module")
def aftermath(village: Village) -> Aftermath:
    return village.run(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_repository_does_not_have_its_way(aftermath: Aftermath, case: OriginCase) -> None:
    aftermath.check(case)
    assert not marker(aftermath.places[case.name]).exists()


def test_nothing_else_is_touched_and_nix_reads_what_was_published(
    aftermath: Aftermath, village: Village
) -> None:
    village.check(aftermath, CASES, village.nix)
