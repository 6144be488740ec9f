"""Common mistakes: one message each, which names the thing and the way out, and nothing written."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest
from rig.running import ScratchStore
from rig.servers import Server

from mirror.formats.signing import SecretKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rig.forked import Ended, Forking

    from mirror.nix.command import Nix

MADE: Final = """
  made = name: derivation { inherit name; system = "x86_64-linux"; builder = "/bin/sh"; };
  refused = why: made "x" // { drvPath = throw why; };
  unrar = refused ''
    Package \u2018unrar-6.2.10\u2019 in /n/unrar/default.nix:46 has an unfree license \
(\u2018unfreeRedistributable\u2019), refusing to evaluate.

    a) To temporarily allow unfree packages, you can use an environment variable
       for a single invocation of the nix tools.

         $ export NIXPKGS_ALLOW_UNFREE=1
  '';
  openssl = refused ''
    Package \u2018openssl-1.1.1w\u2019 in /n/openssl/default.nix:9 is marked as insecure, \
refusing to evaluate.


    Known issues:
     - OpenSSL 1.1 is reaching its end of life

    You can install it anyway by allowing this package, using the following methods:
  '';
  gone = refused ''
    Package \u2018gone-1\u2019 in /n/gone.nix:3 is marked as broken, refusing to evaluate.
  '';
  elsewhere = refused ''
    Package \u2018elsewhere-1\u2019 in /n/elsewhere.nix:3 is not available on the requested \
hostPlatform:
      hostPlatform.system = "x86_64-linux"
    , refusing to evaluate.
  '';
"""
"""Packages, and some that nixpkgs refuses, in its own words."""
NAMES: Final = 'hello = made "hello"; helium = made "helium"; help = made "help"; zsh = made "zsh";'
FILE: Final = f"let {MADE} in {{ {NAMES} inherit unrar openssl gone elsewhere; sets.inner = 1; }}\n"
FLAKE: Final = f"""{{ outputs = {{ self }}: let {MADE} in {{
  packages.x86_64-linux = {{ {NAMES} inherit unrar openssl; }};
}}; }}
"""
NO_WAY: Final = ("Traceback", "bug in prefetch", "ExceptionGroup")
EVALUATE: Final = ("--no-archives", "--to", "new")


@dataclass(frozen=True)
class Mistake:
    """A command line, its exit code, and words that its message has."""

    name: str
    line: str
    code: int
    words: tuple[str, ...]


EVALUATED: Final = (
    Mistake("no-directory", "plan ./nowhere#hello", 1, ("no directory", "nowhere", ".#pi")),
    Mistake("no-flake", "plan ./empty#hello", 1, ("no flake.nix in", "/empty", "FILE.nix")),
    Mistake("untracked", "plan ./untracked#hello", 1, ("untracked/flake.nix", "add flake.nix")),
    Mistake(
        "somebody-elses",
        "plan ./owned#hello",
        1,
        ("dubious ownership", "--add safe.directory", "/owned"),
    ),
    Mistake(
        "unfree-in-flake",
        "plan path:./flake#unrar",
        1,
        ("unrar-6.2.10", "unfree license", "config.allowUnfree", "evaluated purely"),
    ),
    Mistake("unfree-in-file", "plan file.nix#unrar", 1, ("unrar-6.2", "NIXPKGS_ALLOW_UNFREE=1")),
    Mistake(
        "insecure",
        "plan file.nix#openssl",
        1,
        ('permittedInsecurePackages = [ "openssl-1.1.1w" ]', "NIXPKGS_ALLOW_INSECURE=1"),
    ),
    Mistake("broken", "plan file.nix#gone", 1, ("gone-1", "NIXPKGS_ALLOW_BROKEN=1")),
    Mistake("platform", "plan file.nix#elsewhere", 1, ("NIXPKGS_ALLOW_UNSUPPORTED_SYSTEM=1",)),
    Mistake(
        "attribute-of-flake",
        "plan path:./flake#helo",
        1,
        ("'helo'", "x86_64-linux.hello", "x86_64-linux.help", "x86_64-linux.helium", "3 more"),
    ),
    Mistake("attribute-of-file", "plan file.nix#helo", 1, ("helo", "hello", "help", "6 more")),
    Mistake("attribute-inside", "plan file.nix#sets.iner", 1, ("sets.iner", "it has sets.inner")),
    Mistake("no-derivation", "plan file.nix#sets", 1, ("not a derivation", "can be built")),
    Mistake("no-file", "plan nofile.nix#a", 1, ("there is no", "nofile.nix")),
)
"""What takes an evaluation to be found out."""

OTHERS: Final = (
    Mistake("check", "check file.nix#hello --to nodir", 3, ("no binary cache in", "nodir")),
    Mistake("rehearse", "rehearse file.nix#hello --to nodir", 3, ("no binary cache in", "nodir")),
    Mistake("why", "why ./file.nix#hello hello --to nodir", 3, ("no binary cache in", "nodir")),
    Mistake("roots", "roots --to nodir", 3, ("no binary cache in", "prefetch sync")),
    Mistake("verify", "verify nodir", 3, ("no binary cache in", "prefetch sync")),
    Mistake("serve", "serve nodir", 3, ("no binary cache in", "prefetch sync")),
    Mistake("prune", "prune --to nodir", 3, ("no binary cache in", "prefetch sync")),
    Mistake("sign", "sign --to nodir --signing-key key", 3, ("no binary cache in", "nodir")),
    Mistake("empty", "roots --to empty", 3, ("no binary cache in", "/empty")),
    Mistake("no-store", "roots --to local?root=nodir", 3, ("no Nix store in", "/nodir")),
    Mistake("verify-store", "verify local?root=nodir", 3, ("no Nix store in", "/nodir")),
    Mistake("port", "serve cache --listen 8080", 2, ("'8080'", ":8080 for every interface")),
    Mistake("home", "roots --to ~nobody-such/x", 2, ("~nobody-such/x", "write ./~nobody")),
    Mistake("relative-url", "roots --to file://cache", 2, ("absolute path", "cache")),
    Mistake("url", "roots --to file:///c?compression=xz", 2, ("(compression)", "Write /c")),
    Mistake("http", "roots --to http://cache.test", 2, ("http://cache.test", "a directory")),
    Mistake("no-list", "plan hosts.txt --to new", 2, ("hosts.txt", "pi = .#pi")),
    Mistake("level", "plan file.nix#hello --level all", 2, ("'all'", "rebuild, sources")),
    Mistake("only", "plan list.txt --only lapto --to new", 2, ("did you mean 'laptop'", "laptop")),
    Mistake("option", "plan typo.txt --to new", 2, ("typo.txt:1:", "levle", "level")),
    Mistake("key-name", "key generate a:b new", 2, ("a:b", "HOST-1")),
    Mistake("key-there", "key generate a-1 key", 2, ("already exists", "another file")),
    Mistake("no-key", "key show nokey", 2, ("nokey", "prefetch key generate")),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's directory with all that there are mistakes about."""
    directory = tmp_path_factory.mktemp("mistakes")
    for name in ("empty", "untracked", "owned", "flake", "cache"):
        (directory / name).mkdir()
    (directory / "file.nix").write_text(FILE)
    for name in ("untracked", "owned", "flake"):
        (directory / name / "flake.nix").write_text(FLAKE)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.test", "-C"]
    for name in ("empty", "untracked", "owned"):
        subprocess.run([*git, str(directory / name), "init", "--quiet"], check=True)
    subprocess.run([*git, str(directory / "owned"), "add", "flake.nix"], check=True)
    subprocess.run([*git, str(directory / "owned"), "commit", "--quiet", "-m", "x"], check=True)
    (directory / "cache/nix-cache-info").write_text("StoreDir: /nix/store\n")
    (directory / "list.txt").write_text("laptop = ./file.nix#hello\n")
    (directory / "typo.txt").write_text("laptop = ./file.nix#hello levle=full\n")
    (directory / "key").write_text(f"{SecretKey.generate('a-1')}\n")
    (directory / "key").chmod(0o600)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchStore]:
    store = ScratchStore(tmp_path_factory.mktemp("evaluation") / "store")
    yield store
    store.remove()


def run(forking: Forking, nix: Nix, place: Path, words: list[str]) -> Ended:
    environment = dict(nix.environment)
    if "./owned#hello" in words:
        # git takes it for somebody else's, whoever tests; as root or not.
        environment["GIT_TEST_ASSUME_DIFFERENT_OWNER"] = "1"
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "65534", place / "owned"], check=True)
    return forking.run(words, directory=place, environment=environment)


def files(place: Path) -> set[Path]:
    return {each for each in place.rglob("*") if ".git" not in each.parts}


def expect(ended: Ended, mistake: Mistake) -> None:
    said = ended.stderr
    assert ended.code == mistake.code, said
    assert ended.stdout == "", ended.stdout
    assert [line for line in said.splitlines() if line.startswith("error: ")] == [
        said.splitlines()[0]
    ], said
    for word in mistake.words:
        assert word in said, said
    for word in NO_WAY:
        assert word not in said, said


@pytest.mark.parametrize("version", ["nix_stable", "nix_newest"])
@pytest.mark.parametrize("mistake", EVALUATED, ids=lambda each: each.name)
def test_an_evaluation_says_what_is_wrong_and_the_way_out(
    mistake: Mistake,
    version: str,
    request: pytest.FixtureRequest,
    forking: Forking,
    place: Path,
    evaluation: ScratchStore,
) -> None:
    nix: Nix = request.getfixturevalue(version)
    before = files(place)
    words = [*mistake.line.split(), *EVALUATE, "--store", evaluation.url]
    expect(run(forking, nix, place, words), mistake)
    assert files(place) == before


@pytest.mark.parametrize("mistake", OTHERS, ids=lambda each: each.name)
def test_a_mistake_is_named_with_the_way_out_and_nothing_is_written(
    mistake: Mistake, nix_stable: Nix, forking: Forking, place: Path
) -> None:
    before = files(place)
    expect(run(forking, nix_stable, place, mistake.line.split()), mistake)
    assert files(place) == before


async def test_a_server_that_is_no_binary_cache_is_called_so(
    nix_stable: Nix, forking: Forking, place: Path, evaluation: ScratchStore
) -> None:
    async with Server(files=place / "empty") as server:
        words = ["plan", "file.nix#hello", *EVALUATE, "--store", evaluation.url]
        words += ["--substituter", server.url]
        said = (server.url, "404", "is not a binary cache", "--substituter")
        ended = await asyncio.to_thread(run, forking, nix_stable, place, words)
    expect(ended, Mistake("server", "", 1, said))


def test_a_file_url_is_read_as_the_newest_nix_reads_it(
    nix_stable: Nix, forking: Forking, place: Path
) -> None:
    cache = place / "a cache"
    shutil.copytree(place / "cache", cache)
    ended = run(forking, nix_stable, place, ["roots", "--to", f"file://{place}/a%20cache"])
    assert ended.code == 0, ended.stderr
    assert str(cache) in ended.stdout
