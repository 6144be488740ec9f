"""What only evaluation reads, and not anybody can fetch, is kept and given to nobody else."""

from __future__ import annotations

import asyncio
import json
import stat
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rig.made_paths import generation, put, text
from rig.running import run
from rig.servers import Server
from rig.serving import serve_directory, serve_store

from mirror.destinations import CacheDirectory, Receipt, RunRecord
from mirror.formats.narinfo import parse_narinfo
from mirror.formats.store_path import StorePath
from mirror.nix.evaluation.places import Credentials, Place, credentials, place_of
from mirror.nix.stores import StoreLocation
from mirror.planning.refusals import Refusal
from mirror.serve.library.given import Given
from mirror.sync.kept.changed import since_before

if TYPE_CHECKING:
    from pathlib import Path

    from rig.bench import Bench
    from rig.serving import Served

    from mirror.destinations import Generation
    from mirror.destinations.records.documents import Told
    from mirror.nix.command import Nix

FLAKE = """{
  inputs.open = { url = "%(open)s"; flake = false; };
  inputs.my-secrets = { url = "path:%(secrets)s"; flake = false; };
  inputs.used = { url = "path:%(used)s"; flake = false; };
  outputs = { self, open, my-secrets, used }: {
    packages.x86_64-linux.it = derivation {
      name = "it"; system = "x86_64-linux"; builder = "/bin/sh"; src = used;
      text = import my-secrets + import open;
    };
  };
}
"""


class House:
    """A flake with an input of each kind; ``public`` is served to anybody."""

    def __init__(self, bench: Bench, server: Server) -> None:
        self.cache = bench.directory / "cache"
        self.flake = bench.directory / "flake"
        places = {}
        for name in ("open", "secrets", "used"):
            directory = bench.directory / name
            directory.mkdir()
            (directory / "default.nix").write_text(f'"{name}"\n')
            places[name] = str(directory)
        archive = bench.directory / "public/open.tar.gz"
        archive.parent.mkdir()
        command = ["tar", "-czf", str(archive), "-C", str(bench.directory), "open"]
        subprocess.run(command, check=True)
        server.files = archive.parent
        places["open"] = f"{server.url}/open.tar.gz"
        self.flake.mkdir()
        (self.flake / "flake.nix").write_text(FLAKE % places)
        (self.flake / "untracked").write_text("s3cret")

    async def lock(self, nix: Nix) -> None:
        await asyncio.to_thread(run, nix, "nix", "flake", "lock", f"path:{self.flake}")

    async def sync(self, bench: Bench, nix: Nix, options: str = "") -> Generation:
        line = f"it = path:{self.flake}#it {options}"
        synced = await bench.sync(nix, line, self.cache)
        assert synced.is_complete
        self.exposed = set(synced.plan.targets[0].exposed)
        return (*synced.kept, *synced.unchanged)[0]

    def paths(self, generation: Generation) -> dict[str, StorePath]:
        """The sources that are kept, by what is in them."""
        found = {}
        for path in generation.paths:
            tree = self.store / path.lstrip("/")
            if (tree / "default.nix").is_file():
                found[(tree / "default.nix").read_text().strip().strip('"')] = path
            elif (tree / "untracked").is_file():
                found["self"] = path
        return found

    store: Path
    exposed: set[str]


@pytest.fixture
async def house(bench: Bench, nix_stable: Nix):  # type: ignore[no-untyped-def] # noqa: ANN201
    async with Server() as server:
        made = House(bench, server)
        made.store = bench.evaluation.directory
        await made.lock(nix_stable)
        yield made


def private(generation: Generation, paths: dict[str, StorePath]) -> set[str]:
    """The names of what is private; old versions of Nix leave archives and flakes of ours, too."""
    assert generation.private is not None
    return {name for name, path in paths.items() if path in generation.private}


async def given(served: Served, cache: Path, path: StorePath) -> set[bool]:
    """Whether the path is given in each of the ways there are, its NAR by its very name."""
    entry = parse_narinfo((cache / f"{path.hash_part}.narinfo").read_bytes())
    targets = (f"/{path.hash_part}.narinfo", f"/{entry.url}")
    return {(await served.ask(each)).status == 200 for each in targets}


def is_for_all(cache: Path, path: StorePath) -> set[bool]:
    narinfo = cache / f"{path.hash_part}.narinfo"
    files = (narinfo, cache / parse_narinfo(narinfo.read_bytes()).url)
    return {bool(each.stat().st_mode & stat.S_IROTH) for each in files}


async def test_private_inputs_are_kept_and_not_given(
    bench: Bench, nix_stable: Nix, house: House
) -> None:
    generation = await house.sync(bench, nix_stable)
    paths = house.paths(generation)
    assert paths.keys() == {"self", "open", "secrets", "used"}
    assert private(generation, paths) == {"self", "secrets"}
    assert house.exposed == {"used"}
    async with serve_directory(house.cache) as served:
        status = json.loads((await served.ask("/status.json")).body)
        # Derivations refer to `used`: who builds needs it.
        assert [each["name"] for each in status["inputs"]] == ["open", "used"]
        shown = b"".join([(await served.ask(each)).body for each in ("/", "/status.json")])
        assert b"my-secrets" not in shown
        assert paths["secrets"].hash_part.encode() not in shown
        for name, path in paths.items():
            expected = {name in {"open", "used"}}
            assert await given(served, house.cache, path) == expected, name
            assert is_for_all(house.cache, path) == expected, name
            archive = await served.ask(f"/inputs/{path.hash_part}.tar")
            assert {archive.status == 200} == expected, name
        assert (await served.ask(f"/{generation.root.hash_part}.narinfo")).status == 200

        # And the other way round; who asks next is told so.
        again = await house.sync(bench, nix_stable, "public=my-secrets,self private=open")
        assert private(again, paths) == {"open"}
        assert again.number == generation.number + 1
        for name, path in paths.items():
            expected = {name != "open"}
            assert is_for_all(house.cache, path) == expected, name
            assert await given(served, house.cache, path) == expected, name


async def test_what_an_earlier_version_gave_is_given_no_more(
    bench: Bench, nix_stable: Nix, house: House
) -> None:
    await house.sync(bench, nix_stable, "public=all")
    async with CacheDirectory.open(house.cache) as destination:
        (generation,) = await destination.generations()
        assert generation.private == ()
        await destination.keep(replace(generation, private=None))
    paths = house.paths(generation)
    assert is_for_all(house.cache, paths["secrets"]) == {True}
    now = await house.sync(bench, nix_stable)
    assert now.number == 2
    # A run that was killed in between is completed by the next.
    narinfo = house.cache / f"{paths['self'].hash_part}.narinfo"
    (house.cache / parse_narinfo(narinfo.read_bytes()).url).chmod(0o644)
    assert (await house.sync(bench, nix_stable)).number == 2
    for name in ("secrets", "self"):
        assert is_for_all(house.cache, paths[name]) == {False}, name
    async with serve_directory(house.cache) as served:
        assert await given(served, house.cache, paths["secrets"]) == {False}
        # Also where files have no modes, as on a stick with FAT: the manifests say it, too.
        narinfo = house.cache / f"{paths['secrets'].hash_part}.narinfo"
        narinfo.chmod(0o644)
    async with serve_directory(house.cache) as served:
        assert (await served.ask(f"/{narinfo.name}")).status == 404


async def test_a_name_that_means_nothing_keeps_the_target_from_being_given_away(
    bench: Bench, nix_stable: Nix, house: House
) -> None:
    line = f"it = path:{house.flake}#it private=my-secret"
    synced = await bench.sync(nix_stable, line, house.cache)
    ((_, error),) = synced.failures
    assert "my-secret" in error.message
    assert "my-secrets" in str(error.hint)
    assert not synced.kept


async def test_of_a_store_only_what_is_kept_is_given(
    bench: Bench, nix_stable: Nix, house: House
) -> None:
    kept = bench.empty_store("kept")
    line = f"it = path:{house.flake}#it"
    (generation,) = (await bench.sync(nix_stable, line, kept)).kept
    paths = house.paths(generation)
    (bench.directory / "other").write_text("not kept")
    added = run(nix_stable, "nix-store", "--add", str(bench.directory / "other"), store=kept)
    other = StorePath.parse(added.stdout.strip())
    store = StoreLocation.parse(kept.url)

    async def asked(served: Served) -> dict[str, bool]:
        return {
            name: (await served.ask(f"/{path.hash_part}.narinfo")).status == 200
            for name, path in {**paths, "other": other}.items()
        }

    async with serve_store(nix_stable, store) as served:
        assert await asked(served) == {
            "self": False,
            "secrets": False,
            "open": True,
            "used": True,
            "other": False,
        }
    async with serve_store(nix_stable, store, all_paths=True) as served:
        assert set((await asked(served)).values()) == {True}


@pytest.mark.parametrize(
    ("locked", "place"),
    [
        ({"type": "github", "owner": "A", "repo": "b"}, Place("github.com", "A/b")),
        ({"type": "gitlab", "owner": "a", "repo": "b", "host": "G.example"}, "g.example"),
        ({"type": "tarball", "url": "https://h.example:8/x.tar"}, Place("h.example", "x.tar")),
        ({"type": "git", "url": "https://h/x"}, Place("h", "x")),
        ({"type": "git", "url": "ssh://git@h/x"}, None),
        ({"type": "git", "url": "file:///x"}, None),
        ({"type": "git", "url": "https://token@h/x"}, None),
        ({"type": "tarball", "url": "https://h/x?token=1"}, None),
        ({"type": "path", "path": "/x"}, None),
        ({"type": "indirect", "id": "x"}, None),
        ({"type": "tarball", "url": "http://[::1"}, None),
    ],
)
def test_which_places_anybody_can_ask(locked: dict[str, str], place: object) -> None:
    found = place_of(locked)
    assert found == place or (isinstance(place, str) and found and found.host == place)


def test_places_that_there_are_credentials_for(tmp_path: Path) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine H.example login a password b\n")
    known = credentials(frozenset({"github.com/My-Company"}), file)
    assert known.are_for(Place("h.example", "x"))
    assert known.are_for(Place("github.com", "my-company/x"))
    assert not known.are_for(Place("github.com", "my-company-2/x"))
    assert not known.are_for(Place("github.com", ""))
    assert not credentials(frozenset(), tmp_path / "none").are_for(Place("h.example", ""))
    file.write_text("default login a password b\n")
    assert credentials(frozenset(), file).are_for(Place("any", ""))
    assert Credentials().are_for(Place("any", "")) is False


@pytest.mark.parametrize("is_eager", [False, True])
async def test_many_requests_at_once_read_the_manifests_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_eager: bool
) -> None:
    async with CacheDirectory.open(tmp_path / "cache") as destination:
        read, times = destination.generations, []

        async def slowly(unreadable: Told | None = None) -> list[Generation]:
            times.append(1)
            await asyncio.sleep(0)
            return await read(unreadable)

        monkeypatch.setattr(destination, "generations", slowly)
        monkeypatch.setattr(destination, "watched", lambda: ())
        given = Given(destination, is_eager=is_eager)
        assert not any(await asyncio.gather(*(given.is_private("a" * 32) for _ in range(50))))
    assert len(times) == 1


async def test_what_is_private_no_more_is_given_at_once(tmp_path: Path) -> None:
    made = text("it")
    async with CacheDirectory.open(tmp_path / "cache") as destination:
        await put(destination, made)
        first = replace(generation([made]), private=(made.path,))
        await destination.keep(first)
        given = Given(destination, is_eager=False)
        assert await given.is_private(made.path.hash_part)
        await destination.keep(replace(first, number=2, private=()))
        assert not await given.is_private(made.path.hash_part)


async def test_no_surface_of_a_server_names_a_private_path(tmp_path: Path) -> None:
    """Neither where it is missing, nor where a run says what became of it."""
    made, secret, lost = text("it"), text("my-secret"), text("my-other-secret")
    whole = replace(
        generation([made, lost]),
        missing=(secret.path,),
        refused=(Refusal(path=secret.path, cache="a", reason="b", hint="c"),),
        private=tuple(sorted((secret.path, lost.path))),
    )
    async with CacheDirectory.open(tmp_path / "cache") as destination:
        await put(destination, made)
        await put(destination, lost)
        await destination.keep(whole)
        await destination.record_run(
            RunRecord(
                target=whole.target,
                finished=whole.created,
                number=whole.number,
                is_complete=False,
                problems=(f"{secret.path}: HTTP 404", f"{made.path}: HTTP 404"),
                only_copies=(lost.path,),
                refused=(Refusal(path=secret.path, cache="a", reason="b", hint="c"),),
            )
        )
        await destination.record(
            Receipt(
                target=whole.target,
                number=whole.number,
                root=whole.root,
                nix_version="2.8.0",
                created=whole.created,
                lock_file=None,
                lock_hash=None,
                problem=f"error: cannot read {secret.path}.",
                edits={"hosts": f"error: {str(lost.path)[:30]} … is gone"},
            )
        )
    (tmp_path / "cache" / f"{lost.path.hash_part}.narinfo").unlink()
    async with serve_directory(tmp_path / "cache") as served:
        for place in ("/status.json", "/", "/metrics"):
            said = (await served.ask(place)).body.decode()
            assert "secret" not in said, place
        (host,) = json.loads((await served.ask("/status.json")).body)["hosts"]
    (kept,) = host["generations"]
    assert (kept["missing"], kept["missing_private"], host["lost"]) == ([], 2, [])
    assert not host["complete"]
    assert host["rehearsal"]["problem"] == "error: cannot read a private path."
    assert host["rehearsal"]["edits"] == {"hosts": "error: a private path … is gone"}
    assert host["last_run"]["problems"] == ["a private path: HTTP 404", f"{made.path}: HTTP 404"]


def test_what_a_generation_changed_tells_of_no_private_path() -> None:
    one, two = text("secret-plan-1"), text("secret-plan-2")
    before = replace(generation([text("it-1"), one]), private=(one.path,))
    after = replace(generation([text("it-2"), two], number=2), private=(two.path,))
    since = since_before(after, [before])
    assert since is not None
    assert [str(each) for each in since.packages] == ["it 1 → 2"]
    assert since.rebuilt == 0
