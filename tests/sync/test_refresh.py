"""``--refresh``: newer inputs where they can be made ready, and the old ones where they cannot."""

from __future__ import annotations

import io
import subprocess
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rig.servers import Reply, Server

from mirror.errors import DestinationError
from mirror.sync.refresh.refresh import refreshed

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig.bench import Bench

    from mirror.nix.command import Nix

MADE = """
derivation {{
  name = "made-{version}"; system = "x86_64-linux"; builder = "/bin/sh";
  args = [ "-c" "echo > $out" ]; {more}
}}
"""
GONE = f"""
source = derivation {{
  name = "gone"; system = "x86_64-linux"; builder = "/bin/sh"; mirrorsFile = "/none";
  outputHashAlgo = "sha256"; outputHashMode = "flat"; outputHash = "{"0" * 63}1";
  urls = [ "file:///no/such/file" ];
}};
"""
HOST = """
{{
  inputs.it.url = "git+file://{input}";
  outputs = {{ it, ... }}: {{
    packages.x86_64-linux = {{
      default = it.made;
      other = derivation {{
        name = "other"; system = "x86_64-linux"; builder = "/bin/sh"; by = it.version;
      }};
    }};
  }};
}}
"""


@dataclass
class Flakes:
    """A flake in a directory, with a lock file, and a repository that its one input is in."""

    host: Path
    input: Path

    @property
    def lock(self) -> Path:
        return self.host / "flake.lock"

    def publish(self, version: str, *, more: str = "", made: str | None = None) -> str:
        """Commit a version of the input; its revision."""
        made = MADE.format(version=version, more=more) if made is None else made
        text = f'{{ outputs = _: {{ version = "{version}"; made = {made}; }}; }}'
        (self.input / "flake.nix").write_text(text)
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", version)
        return self.git("rev-parse", "HEAD")

    def git(self, *arguments: str) -> str:
        person = ("-c", "user.name=somebody", "-c", "user.email=somebody@localhost")
        return subprocess.run(
            ["git", *person, *arguments],
            cwd=self.input,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout.strip()

    def lines(self, *names: str) -> str:
        return "\n".join(f"{name} = path:{self.host}#{name}" for name in names)


@pytest.fixture
def flakes(tmp_path: Path) -> Flakes:
    made = Flakes(host=tmp_path / "host", input=tmp_path / "input")
    for directory in (made.host, made.input):
        directory.mkdir()
    (made.host / "flake.nix").write_text(HOST.format(input=made.input))
    made.git("init", "--quiet", "--initial-branch=main")
    return made


async def test_newer_inputs_are_locked_and_told_and_kept(
    bench: Bench, any_nix: Nix, flakes: Flakes
) -> None:
    cache = bench.directory / "cache"
    old = flakes.publish("1")
    first = await bench.sync(any_nix, flakes.lines("default"), cache, refresh=True)
    assert first.is_complete
    assert old in flakes.lock.read_text()
    new = flakes.publish("2")
    unchanged = await bench.sync(any_nix, flakes.lines("default"), cache)
    assert unchanged.unchanged == first.kept
    bench.recorder.notices.clear()
    second = await bench.sync(any_nix, flakes.lines("default"), cache, refresh=True)
    assert second.is_complete
    assert second.is_news
    assert second.plan.targets[0].root.name == "made-2.drv"
    assert [each.number for each in second.kept] == [2]
    assert new in flakes.lock.read_text()
    (told,) = bench.recorder.notices
    assert told.startswith(f"refreshed {flakes.lock}: it: {old[:11]} (20")
    assert f"→ {new[:11]} (20" in told
    again = await bench.sync(any_nix, flakes.lines("default"), cache, refresh=True)
    assert not again.is_news
    assert not _notes(any_nix)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [({"made": 'throw "no more"'}, "no more"), ({"more": GONE}, "no/such/file")],
    ids=["evaluation", "a path"],
)
async def test_inputs_that_cannot_be_made_ready_are_put_back(
    bench: Bench, any_nix: Nix, flakes: Flakes, broken: dict[str, str], reason: str
) -> None:
    cache = bench.directory / "cache"
    flakes.publish("1")
    first = await bench.sync(any_nix, flakes.lines("default", "other"), cache, refresh=True)
    before = flakes.lock.read_bytes()
    flakes.publish("2", **broken)
    second = await bench.sync(any_nix, flakes.lines("default", "other"), cache, refresh=True)
    assert not second.is_complete
    assert flakes.lock.read_bytes() == before
    assert not _notes(any_nix)
    assert second.kept == ()
    said = [error.message for _, error in second.failures]
    for name in ("default", "other"):
        (told,) = [each for each in said if each.startswith(f"{name} is not refreshed")]
        assert f"default could not be made ready, and {flakes.lock} was put back" in told
        assert (reason in told) == (name == "default")
    async with bench.destination(any_nix, cache) as destination:
        assert await destination.generations() == [*first.kept]
        records = {each.target: each for each in await destination.run_records()}
    assert [records[name].number for name in ("default", "other")] == [1, 1]
    assert not records["other"].is_complete
    assert reason in " ".join(records["default"].problems)
    assert second.unchanged == first.kept
    third = await bench.sync(any_nix, flakes.lines("default", "other"), cache)
    assert third.is_complete
    assert third.unchanged == first.kept


async def test_what_else_is_new_is_kept_although_the_inputs_are_put_back(
    bench: Bench, nix_stable: Nix, flakes: Flakes
) -> None:
    cache = bench.directory / "cache"
    flakes.publish("1")
    await bench.sync(nix_stable, flakes.lines("default", "other"), cache, refresh=True)
    flakes.publish("2", more=GONE)
    flake = flakes.host / "flake.nix"
    flake.write_text(flake.read_text().replace('name = "other"', 'name = "another"'))
    synced = await bench.sync(nix_stable, flakes.lines("default", "other"), cache, refresh=True)
    assert not synced.is_complete
    assert [(each.target, each.root.name) for each in synced.kept] == [
        ("default", "made-1.drv"),
        ("other", "another.drv"),
    ]
    assert all(not each.missing for each in synced.kept)
    kept = {path for each in synced.kept for path in each.paths}
    outcomes = {each.path: each.result for each in synced.outcomes}
    assert outcomes.keys() >= kept
    assert set(outcomes.values()) == {"held", "stored"}


async def test_a_run_that_comes_to_nothing_leaves_the_lock_file_as_it_was(
    bench: Bench, nix_stable: Nix, flakes: Flakes
) -> None:
    flakes.publish("1")
    targets = bench.targets(flakes.lines("default"))
    async with bench.workshop(nix_stable) as workshop:

        async def fails() -> None:
            before = _content(flakes.lock)
            async with refreshed(targets, workshop, bench.recorder):
                assert _content(flakes.lock) != before
                raise DestinationError("the disk is full")

        with pytest.raises(DestinationError):
            await fails()
        assert not flakes.lock.exists()
        async with refreshed(targets, workshop, bench.recorder) as anew:
            await anew.settle()
        settled = _content(flakes.lock)
        assert settled is not None
        bench.recorder.notices.clear()
        flakes.publish("2")
        with pytest.raises(DestinationError):
            await fails()
    assert _content(flakes.lock) == settled
    assert bench.recorder.notices[-1] == f"{flakes.lock} was put back"


def _notes(nix: Nix) -> list[str]:
    """The lock files that count as not settled."""
    state = Path(nix.environment["XDG_STATE_HOME"]) / "prefetch/refreshes"
    assert state.is_dir()
    return [each.read_text() for each in state.glob("*.json")]


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


async def test_a_lock_file_that_cannot_be_read_is_a_failure_of_its_targets(
    bench: Bench, nix_stable: Nix, flakes: Flakes
) -> None:
    flakes.publish("1")
    flakes.lock.mkdir()
    targets = bench.targets(flakes.lines("default"))
    async with (
        bench.workshop(nix_stable) as workshop,
        refreshed(targets, workshop, bench.recorder) as anew,
    ):
        ((target, error),) = anew.failures
        assert target.name == "default"
        assert error.message == f"{flakes.lock}: Is a directory"


async def test_inputs_that_cannot_be_asked_leave_what_is_locked_in_use(
    bench: Bench, any_nix: Nix, flakes: Flakes
) -> None:
    cache = bench.directory / "cache"
    flakes.publish("1")
    await bench.sync(any_nix, flakes.lines("default"), cache, refresh=True)
    before = flakes.lock.read_bytes()
    flakes.input.rename(flakes.input.with_name("away"))
    again = await bench.sync(any_nix, flakes.lines("default"), cache, refresh=True)
    assert not again.is_complete
    ((target, error),) = again.failures
    assert target.name == "default"
    assert "cannot be updated" in error.message
    assert [each.number for each in again.unchanged] == [1]
    assert flakes.lock.read_bytes() == before


def tarball(directory: str, files: dict[str, str]) -> Reply:
    """The files below a directory, as code hosts serve them."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"{directory}/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return Reply(body=data.getvalue(), ranges=False)


async def test_a_flake_elsewhere_is_fetched_anew(bench: Bench, any_nix: Nix) -> None:
    def published(version: str) -> Reply:
        made = MADE.format(version=version, more="")
        text = f"{{ outputs = _: {{ packages.x86_64-linux.default = {made}; }}; }}"
        return tarball(f"it-{version}", {"flake.nix": text})

    await _sees_what_is_new(bench, any_nix, published, "it = {url}#default")


async def test_a_tarball_in_the_search_path_is_fetched_anew(bench: Bench, any_nix: Nix) -> None:
    def published(version: str) -> Reply:
        return tarball(f"it-{version}", {"default.nix": MADE.format(version=version, more="")})

    (bench.directory / "it.nix").write_text("{ it = import <channel>; }")
    await _sees_what_is_new(bench, any_nix, published, "it = ./it.nix#it")


async def _sees_what_is_new(
    bench: Bench, nix: Nix, published: Callable[[str], Reply], line: str
) -> None:
    cache = bench.directory / "cache"
    async with Server() as server:
        url = server.on("/it.tar.gz", published("1"))
        # NIX_PATH itself is split at colons, and such a URL has two.
        settings = f"{nix.environment['NIX_CONFIG']}\nnix-path = channel={url}"
        nix = replace(nix, environment={**nix.environment, "NIX_CONFIG": settings})
        line = line.format(url=url)
        first = await bench.sync(nix, line, cache)
        assert not first.failures
        assert first.plan.targets[0].root.name == "made-1.drv"
        server.on("/it.tar.gz", published("2"))
        second = await bench.sync(nix, line, cache)
        assert second.unchanged == first.kept, "Nix takes what it has for an hour"
        third = await bench.sync(nix, line, cache, refresh=True)
        assert third.plan.targets[0].root.name == "made-2.drv"
        assert third.is_complete
