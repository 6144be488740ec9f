"""The Nix store: roots that a real garbage collection respects, and whom the daemon trusts."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import resource
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rig.made_paths import Made, chain, generation, numbered, put, text

from mirror.destinations.store.nix_store import NixStore
from mirror.errors import DestinationError, ToolError
from mirror.nix.stores import StoreLocation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mirror.nix.command import Nix

NOBODY = 65534
AS_ANYONE = """
import asyncio, concurrent.futures.thread, os, sys
from rig.made_paths import generation, input_addressed, put, text
from mirror.destinations.store.nix_store import NixStore
from mirror.errors import DestinationError, ToolError
from mirror.nix.command import Nix
from mirror.nix.stores import StoreLocation

os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
os.chdir("/")

async def main():
    nix = Nix(program="nix", version=(0, 0, 0), environment=os.environ)
    async with NixStore.open(nix, StoreLocation.parse(sys.argv[1])) as store:
        texts = [text("one"), text("two")]
        for made in texts:
            await put(store, made)
        await store.keep(generation(texts))
        assert await store.generations() == [generation(texts)]
        try:
            await put(store, input_addressed("unsigned"))
        except DestinationError as error:
            print(error.message, error.hint)
        await put(store, text("three"))

try:
    asyncio.run(main())
except ToolError as error:
    print(error.message, error.hint)
"""


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk that is full beyond ``size``, as far as this process can tell."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def collect_garbage(nix: Nix, store: StoreLocation) -> None:
    completed = await nix.run(["nix-store", "--gc", "--store", store.url])
    assert completed.returncode == 0, completed.stderr


def there(store: StoreLocation, everything: Iterable[Made]) -> list[str]:
    return [made.path.name for made in everything if store.real(made.path).exists()]


async def test_garbage_collection_keeps_the_generations_alone(
    nix: Nix, store: StoreLocation
) -> None:
    links = chain(4)
    stray = text("stray")
    everything = [*links, stray]
    async with NixStore.open(nix, store) as destination:
        for made in everything:
            await put(destination, made)
        await destination.keep(generation(links[:2]))
        await destination.keep(numbered(generation(links[:3]), 2))
    await collect_garbage(nix, store)
    assert there(store, everything) == ["link-0", "link-1", "link-2"]
    async with NixStore.open(nix, store) as destination:
        _, second = await destination.generations()
        await destination.forget(second)
    await collect_garbage(nix, store)
    assert there(store, everything) == ["link-0", "link-1"]
    async with NixStore.open(nix, store) as destination:
        for kept in await destination.generations():
            await destination.forget(kept)
    await collect_garbage(nix, store)
    assert there(store, everything) == []


async def test_nothing_protected_is_collected_during_a_run(nix: Nix, store: StoreLocation) -> None:
    links = chain(3)
    async with NixStore.open(nix, store) as destination:
        await destination.protect([made.path for made in links[:2]])
        for made in links:
            await put(destination, made)
        await collect_garbage(nix, store)
        assert there(store, links)[:2] == ["link-0", "link-1"]
        await destination.keep(generation(links[:2]))
    await collect_garbage(nix, store)
    assert there(store, links) == ["link-0", "link-1"]


async def test_a_generation_of_many_paths_is_one_root(nix: Nix, store: StoreLocation) -> None:
    many = [text(f"path-{number}") for number in range(400)]
    async with NixStore.open(nix, store) as destination:
        for made in many:
            await put(destination, made)
        await destination.keep(generation(many))
    await collect_garbage(nix, store)
    assert len(there(store, many)) == len(many)
    assert len(list((store.state_directory / "gcroots/prefetch").iterdir())) == 1


async def test_a_link_that_is_not_understood_is_named(nix: Nix, store: StoreLocation) -> None:
    made = text("hello")
    async with NixStore.open(nix, store) as destination:
        await put(destination, made)
        await destination.keep(generation([made]))
        link = store.state_directory / "gcroots/prefetch/strange"
        for target in ("/etc/passwd", made.path):
            link.symlink_to(target)
            with pytest.raises(DestinationError, match="gcroots/prefetch/strange"):
                await destination.generations()
            link.unlink()
        link.symlink_to(text("collected").path)
        assert await destination.generations() == [generation([made])]


async def test_a_store_that_cannot_be_opened_is_named(nix: Nix, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = StoreLocation.parse(f"local?root={tmp_path}/file/below")
    with pytest.raises(ToolError, match=r"below cannot be opened: .*ot a directory"):
        async with NixStore.open(nix, store):
            pass


as_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="starts a daemon as root, and a client as nobody"
)


async def as_nobody(
    nix: Nix, store: StoreLocation, directory: Path, *settings: str
) -> tuple[str, Path]:
    """Run ``AS_ANYONE`` as nobody, with a daemon of root's; what it says, and nobody's home."""
    # Only what pytest keeps for itself is opened: /tmp itself may be among what is above.
    for above in [directory, *directory.parents]:
        mode = above.stat().st_mode
        if not mode & stat.S_IXOTH:
            above.chmod(stat.S_IMODE(mode) | 0o055)
    socket = directory / "socket"
    home = directory / "nobody"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    here = Path(__file__).parent
    environment = {
        "NIX_REMOTE": store.url,
        "NIX_DAEMON_SOCKET_PATH": str(socket),
        "NIX_CONFIG": "\n".join([nix.environment["NIX_CONFIG"], *settings]),
    }
    async with nix.process(["nix-daemon", "--daemon"], environment=environment) as daemon:
        while not socket.exists() and daemon.returncode is None:  # noqa: ASYNC110 - not ours to signal
            await asyncio.sleep(0.01)
        client = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            AS_ANYONE,
            f"unix://{socket}?root={store.root}",
            env={
                **nix.environment,
                "HOME": str(home),
                "PYTHONPATH": os.pathsep.join([str(here.parent), str(here.parents[1])]),
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, complained = await client.communicate()
    assert client.returncode == 0, complained.decode()
    return said.decode(), home


@as_root
async def test_a_user_whom_the_daemon_does_not_trust_needs_signatures(
    nix: Nix, store: StoreLocation, tmp_path: Path
) -> None:
    said, home = await as_nobody(nix, store, tmp_path)
    assert "unsigned" in said
    assert "trusted-public-keys" in said
    await collect_garbage(nix, store)
    assert there(store, [text("one"), text("two"), text("three")]) == ["one", "two"]
    (link,) = home.glob(".local/state/prefetch/gcroots/*/pi-*")
    link.unlink()
    await collect_garbage(nix, store)
    assert there(store, [text("one"), text("two")]) == []


@as_root
async def test_a_user_whom_the_daemon_does_not_let_in_is_told_so(
    nix: Nix, store: StoreLocation, tmp_path: Path
) -> None:
    said, _ = await as_nobody(nix, store, tmp_path, "allowed-users = root")
    assert "closed the connection" in said
    assert "allowed-users" in said


async def test_a_full_disk_is_said_whenever_it_shows(nix: Nix, store: StoreLocation) -> None:
    large = text("large", content=bytes(3 << 20))
    async with NixStore.open(nix, store) as destination:
        for size in (1 << 20, (3 << 20) - 100):
            with (
                files_of_at_most(size),
                pytest.raises(DestinationError, match="File too large"),
            ):
                await put(destination, large)
        await put(destination, large)


async def test_a_link_to_something_else_is_named(nix: Nix, store: StoreLocation) -> None:
    made = text("one")
    async with NixStore.open(nix, store) as destination:
        await put(destination, made)
        await destination.keep(generation([made]))
        (link,) = (store.state_directory / "gcroots/prefetch").iterdir()
        manifest_object = store.root / str(link.readlink()).lstrip("/")
        manifest_object.unlink()
        manifest_object.mkdir()
        with pytest.raises(DestinationError, match="Is a directory"):
            await destination.generations()


async def test_a_collection_that_cannot_be_reached_ends_it(nix_stable: Nix, tmp_path: Path) -> None:
    """As can be where a name is too long for a socket's: what Nix says after that is not so."""
    store = StoreLocation.parse(f"local?root={tmp_path / ('long-' * 20)}")
    one, two = text("one"), text("two")
    async with NixStore.open(nix_stable, store) as destination:
        await put(destination, one)
        with (store.root / "nix/var/nix/gc.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # as a collection does first of all
            with pytest.raises(ToolError, match="gc-socket") as met:
                await destination.protect([two.path])
            assert met.value.hint is not None
            assert "run again when that is over" in met.value.hint
        with pytest.raises(ToolError, match="lost earlier"):
            await destination.keep(generation([one]))
    async with NixStore.open(nix_stable, store) as destination:
        await put(destination, one)
        await put(destination, two)
        await destination.keep(generation([one, two]))
    await collect_garbage(nix_stable, store)
    assert there(store, [one, two]) == ["one", "two"]
