from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING

import pytest
from rig.running import NO_NETWORK, run
from rig.servers import Reply, Request, Server

from mirror.errors import IntegrityError, NotAvailableError, TransientError
from mirror.formats import nar
from mirror.formats.hashes import Hash
from mirror.planning.fetchers.fixed_outputs import GitCheckout
from mirror.sources.git import checkout
from mirror.sources.http.settings import HttpSettings
from mirror.trust import Certificates

if TYPE_CHECKING:
    from mirror.nix.command import Nix

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nowhere",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_ALLOW_PROTOCOL": "file",
}


def git(directory: Path, *arguments: str) -> str:
    command = ["git", "-c", "init.defaultBranch=main", *arguments]
    return subprocess.run(
        command, cwd=directory, env=ENVIRONMENT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


def commit(directory: Path) -> str:
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--message", "x")
    return git(directory, "rev-parse", "HEAD")


class Repository:
    """A repository with a history, a tag, a submodule, and what checkouts get wrong."""

    def __init__(self, directory: Path) -> None:
        inner = directory / "inner"
        inner.mkdir(parents=True)
        git(inner, "init", "--quiet")
        (inner / "of-the-submodule").write_text("x")
        commit(inner)
        self.directory = directory / "outer"
        self.directory.mkdir()
        git(self.directory, "init", "--quiet")
        (self.directory / "old").write_text("old")
        self.first = commit(self.directory)
        (self.directory / "a").mkdir()
        (self.directory / "a" / "run").write_text("#!/bin/sh\n")
        (self.directory / "a" / "run").chmod(0o755)
        (self.directory / "b").mkdir()
        (self.directory / "b" / "windows").write_bytes(b"a\nb\n")
        (self.directory / ".gitattributes").write_text("windows text eol=crlf\n")
        (self.directory / "link").symlink_to("a/run")
        git(self.directory, "submodule", "--quiet", "add", "../inner", "sub")
        self.second = commit(self.directory)
        git(self.directory, "tag", "v1")
        (self.directory / "newer").write_text("newer")
        self.third = commit(self.directory)

    @property
    def url(self) -> str:
        return self.directory.as_uri()

    def hash(self, nix: Nix, revision: str, *, submodules: bool = False) -> Hash:
        """The hash of the revision's tree, cloned by git and hashed by Nix."""
        clone = self.directory.parent / "clone"
        git(self.directory.parent, "clone", "--quiet", self.url, str(clone))
        git(clone, "checkout", "--quiet", revision)
        if submodules:
            git(clone, "submodule", "--quiet", "update", "--init", "--recursive")
        for found in clone.rglob(".git"):
            shutil.rmtree(found) if found.is_dir() else found.unlink()
        printed = run(nix, "nix-hash", "--type", "sha256", str(clone)).stdout.strip()
        shutil.rmtree(clone)
        return Hash.parse(printed, "sha256")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repositories")


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    directory = tmp_path / "work"
    directory.mkdir()
    return directory


async def tree_hash(origin: GitCheckout, directory: Path) -> Hash:
    return Hash.of(b"".join(nar.serialize(await checkout(origin, directory))))


def names(node: nar.Node) -> set[bytes]:
    assert isinstance(node, nar.Directory)
    return set(node.entries)


@pytest.mark.parametrize("which", ["first", "second", "third", "v1", "refs/tags/v1", "main"])
async def test_a_revision_is_the_tree_that_nix_hashes(
    nix_stable: Nix, repository: Repository, empty: Path, which: str
) -> None:
    revision = getattr(repository, which, which)
    found = await tree_hash(GitCheckout(url=repository.url, revision=revision), empty)
    assert found == repository.hash(nix_stable, revision)


async def test_submodules_are_fetched_when_they_are_asked_for(
    nix_stable: Nix, repository: Repository, empty: Path
) -> None:
    origin = GitCheckout(url=repository.url, revision=repository.second, submodules=True)
    assert await tree_hash(origin, empty) == (
        repository.hash(nix_stable, repository.second, submodules=True)
    )


async def test_a_server_that_gives_whole_branches_only_is_asked_for_those(
    nix_stable: Nix, repository: Repository, empty: Path
) -> None:
    # The oldest transport: plain files over HTTP, which knows no shallow clones.
    bare = repository.directory.parent / "bare.git"
    git(repository.directory, "clone", "--quiet", "--bare", repository.url, str(bare))
    git(bare, "update-server-info")
    async with Server(bare.parent) as server:
        origin = GitCheckout(url=f"{server.url}/bare.git", revision=repository.second)
        assert await tree_hash(origin, empty) == repository.hash(nix_stable, repository.second)


async def test_parts_of_a_tree(repository: Repository, empty: Path) -> None:
    origin = GitCheckout(
        url=repository.url, revision=repository.second, sparse_checkout=("a",), sparse_cone=True
    )
    at_the_top = {b".gitattributes", b".gitmodules", b"link", b"old", b"sub"}
    assert names(await checkout(origin, empty)) == {b"a", *at_the_top}


async def test_patterns_and_a_directory_of_a_tree(repository: Repository, tmp_path: Path) -> None:
    def origin(root: str) -> GitCheckout:
        return GitCheckout(
            url=repository.url,
            revision=repository.second,
            sparse_checkout=("b/windows",),
            sparse_cone=False,
            root_directory=root,
        )

    for root, expected in (("b", {b"windows"}), ("", {b"b"})):
        directory = tmp_path / f"work-{root}"
        directory.mkdir()
        assert names(await checkout(origin(root), directory)) - {b"sub"} == expected
    for number, root in enumerate(("not-there", "../..")):
        directory = tmp_path / f"work-{number}"
        directory.mkdir()
        with pytest.raises(NotAvailableError):
            await checkout(origin(root), directory)


@pytest.mark.parametrize(
    "revision",
    ["0" * 40, "no-such-tag", "--upload-pack=touch x", "", "x" * 200_000, "\ud800", "\0"],
)
async def test_a_revision_that_is_not_there(
    repository: Repository, empty: Path, revision: str
) -> None:
    with pytest.raises(NotAvailableError):
        await checkout(GitCheckout(url=repository.url, revision=revision), empty)


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% /tmp/x",
        "/some/directory",
        "--upload-pack=x",
        "ftp://h/x",
        "fd::7",
        "http://[h/x",
    ],
)
async def test_only_the_usual_transports_are_used(empty: Path, url: str) -> None:
    with pytest.raises(NotAvailableError, match="not a URL for git"):
        await checkout(GitCheckout(url=url, revision="0" * 40), empty)


async def test_a_remote_repository_cannot_name_files_of_this_machine(
    repository: Repository, empty: Path
) -> None:
    git(repository.directory, "config", "-f", ".gitmodules", "submodule.sub.url", "file:///etc")
    revision = commit(repository.directory)
    bare = repository.directory.parent / "bare.git"
    git(repository.directory, "clone", "--quiet", "--bare", repository.url, str(bare))
    git(bare, "update-server-info")
    async with Server(bare.parent) as server:
        origin = GitCheckout(url=f"{server.url}/bare.git", revision=revision, submodules=True)
        with pytest.raises(NotAvailableError, match="file"):
            await checkout(origin, empty)


async def test_the_users_own_settings_and_hooks_play_no_part(
    repository: Repository, empty: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = tmp_path / "gitconfig"
    settings.write_text(f'[url "file:///nowhere/"]\n  insteadOf = {repository.url}\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    await checkout(GitCheckout(url=repository.url, revision=repository.first), empty)


@pytest.mark.parametrize("where", ["XDG_CONFIG_HOME", "GIT_TEMPLATE_DIR", "GIT_CONFIG_SYSTEM"])
async def test_nobodys_attributes_play_a_part(
    nix_stable: Nix, repository: Repository, tmp_path: Path, where: str
) -> None:
    mine = tmp_path / "mine"
    for file in ("git/attributes", "info/attributes"):
        (mine / file).parent.mkdir(parents=True)
        (mine / file).write_text("* text eol=crlf\n")
    (mine / "system").write_text(f"[core]\nattributesFile = {mine}/git/attributes\n")
    expected = repository.hash(nix_stable, "v1", submodules=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(where, str(mine / "system" if where == "GIT_CONFIG_SYSTEM" else mine))
        (tmp_path / "work").mkdir()
        origin = GitCheckout(url=repository.url, revision="v1", submodules=True)
        assert await tree_hash(origin, tmp_path / "work") == expected


def test_the_systems_attributes_play_no_part(
    nix_stable: Nix, repository: Repository, tmp_path: Path
) -> None:
    """The checkout is made by a process for which /etc has such a file, and a gitconfig."""
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "gitattributes").write_text("* text eol=crlf\n")
    (etc / "gitconfig").write_text("[core]\nautocrlf = true\n")
    script = (
        "import asyncio, sys; from pathlib import Path; from mirror.formats import nar; "
        "from mirror.planning.fetchers.fixed_outputs import GitCheckout; "
        "from mirror.sources.git import checkout; "
        "origin = GitCheckout(url=sys.argv[1], revision='v1'); "
        "tree = asyncio.run(checkout(origin, Path('work'))); "
        "sys.stdout.buffer.write(b''.join(nar.serialize(tree)))"
    )
    (tmp_path / "work").mkdir()
    inside = f'mount --bind {etc} /etc && exec "$0" "$@"'
    command = [*NO_NETWORK, "--mount", "sh", "-c", inside, sys.executable, "-c", script]
    made = subprocess.run([*command, repository.url], cwd=tmp_path, stdout=PIPE, check=True)
    assert Hash.of(made.stdout) == repository.hash(nix_stable, "v1")


@pytest.mark.parametrize("revision", ["hash", "v1", "HEAD", "abbreviation"])
async def test_repositories_of_sha256(tmp_path: Path, empty: Path, revision: str) -> None:
    directory = tmp_path / "repository"
    directory.mkdir()
    git(directory, "init", "--quiet", "--object-format=sha256")
    (directory / "file").write_text("x")
    digits = commit(directory)
    git(directory, "tag", "v1")
    asked = {"hash": digits, "abbreviation": digits[:10]}.get(revision, revision)
    origin = GitCheckout(url=directory.as_uri(), revision=asked)
    assert names(await checkout(origin, empty)) == {b"file"}


def openssl(*arguments: str) -> str:
    command = ["openssl", *arguments]
    made = subprocess.run(command, check=True, capture_output=True, text=True)
    return made.stdout.strip()


async def test_a_server_is_believed_for_the_certificates_that_are_named(
    repository: Repository, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-keyout", str(key), "-out", str(certificate)),
    )
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    bare = repository.directory.parent / "bare.git"
    git(repository.directory, "clone", "--quiet", "--bare", repository.url, str(bare))
    git(bare, "update-server-info")
    link = tmp_path / openssl("x509", "-subject_hash", "-noout", "-in", str(certificate))
    link.with_suffix(".0").symlink_to(certificate)
    async with Server(bare.parent, tls=tls) as server:
        origin = GitCheckout(url=f"{server.url}/bare.git", revision=repository.second)
        for name, named in (
            ("file", Certificates(file=certificate)),
            ("directory", Certificates(directory=tmp_path)),
        ):
            (tmp_path / name).mkdir()
            settings = HttpSettings(certificates=named)
            assert b"link" in names(await checkout(origin, tmp_path / name, settings))
        (tmp_path / "nobody").mkdir()
        with pytest.raises(NotAvailableError, match="certificate"):
            await checkout(origin, tmp_path / "nobody")


async def test_without_git_the_next_source_is_asked(
    repository: Repository, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NotAvailableError, match="no `git`"):
        await checkout(GitCheckout(url=repository.url, revision="main"), empty)


async def test_a_git_that_takes_no_settings_from_its_environment_is_not_used(
    repository: Repository, empty: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As none did before 2.31."""
    old = tmp_path / "bin" / "git"
    old.parent.mkdir()
    old.write_text(f'#!/bin/sh\nunset GIT_CONFIG_COUNT\nexec {shutil.which("git")} "$@"\n')
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}:{os.environ['PATH']}")
    with pytest.raises(NotAvailableError, match="takes no settings") as raised:
        await checkout(GitCheckout(url=repository.url, revision="main"), empty)
    assert "2.31" in (raised.value.hint or "")


async def test_a_repository_that_takes_too_long_is_left_and_nothing_goes_on_running(
    empty: Path, server: Server
) -> None:
    server.on("/r.git/info/refs", Reply(hang_first=True))
    origin = GitCheckout(url=f"{server.url}/r.git", revision="0" * 40)
    with pytest.raises(TransientError, match="longer than"):
        await checkout(origin, empty, time_limit=0.7)
    await ended(empty)


async def test_a_repository_that_takes_too_much_room_is_left(
    empty: Path, server: Server, repository: Repository
) -> None:
    bare = repository.directory.parent / "bare.git"
    (repository.directory / "large").write_bytes(os.urandom(3 << 20))
    commit(repository.directory)
    git(repository.directory, "clone", "--quiet", "--bare", repository.url, str(bare))
    git(bare, "repack", "-a", "-d", "--quiet")
    git(bare, "update-server-info")
    server.files = bare.parent
    (pack,) = bare.glob("objects/pack/*.pack")
    # Half of it comes, and then nothing.
    server.on(f"/{pack.relative_to(bare.parent)}", Reply(body=pack.read_bytes(), hang=True))
    origin = GitCheckout(url=f"{server.url}/bare.git", revision="refs/heads/main")
    with pytest.raises(IntegrityError, match="takes more than 1048576 bytes"):
        await checkout(origin, empty, size_limit=1 << 20)
    await ended(empty)


async def test_cancelling_stops_git_and_what_it_started(empty: Path, server: Server) -> None:
    server.on("/r.git/info/refs", Reply(hang_first=True))
    origin = GitCheckout(url=f"{server.url}/r.git", revision="0" * 40)
    task = asyncio.create_task(checkout(origin, empty))
    await server.was_asked.wait()
    assert str(empty) in running()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ended(empty)


async def ended(directory: Path) -> None:
    """Wait until nothing runs there: who was killed is gone once the system has seen to it."""
    async with asyncio.timeout(200):
        while str(directory) in running():  # noqa: ASYNC110 - the system tells nobody
            await asyncio.sleep(0.02)


def running() -> str:
    """The working directories of all processes."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.append(str((process / "cwd").readlink()))
        except OSError:
            continue
    return "\n".join(found)


async def test_a_password_in_the_url_is_given_to_git_and_seen_by_nobody(
    nix_stable: Nix, repository: Repository, empty: Path
) -> None:
    """The URL's user and password are in no process's arguments, which all users see."""
    bare = repository.directory.parent / "bare.git"
    git(repository.directory, "clone", "--quiet", "--bare", repository.url, str(bare))
    git(bare, "update-server-info")
    (bare.parent / "nobody").mkdir()
    wanted = f"Basic {base64.b64encode(b'bob:s3cr/t').decode()}"
    seen: list[bytes] = []

    def fault(request: Request, reply: Reply) -> Reply:
        for each in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                seen.append(each.read_bytes())
        if request.headers.get("authorization") == wanted:
            return reply
        return Reply(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    async with Server(bare.parent) as server:
        server.fault = fault
        url = f"{server.url.replace('://', '://bob:s3cr%2Ft@')}/bare.git"
        found = await tree_hash(GitCheckout(url=url, revision=repository.third), empty)
        assert any(server.url.encode() in each for each in seen)
        nobody = GitCheckout(url=f"{server.url}/bare.git", revision=repository.third)
        with pytest.raises(NotAvailableError) as raised:
            await checkout(nobody, bare.parent / "nobody")
        assert "netrc" in (raised.value.hint or "")
    assert found == repository.hash(nix_stable, repository.third)
    assert not any(b"s3cr" in each for each in seen)
