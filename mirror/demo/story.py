"""``prefetch demo``: the whole story, told by doing it.

An upstream on loopback, an empty client, a sync, a real garbage collection, the network gone, and
the system is built all the same. Every step is checked: a demo that ends well has proved what it
says. It happens in a directory of its own, and nothing of the user's Nix is touched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import aiofiles

from mirror.demo.upstream import serve_upstream
from mirror.destinations import CacheDirectory, NixStore
from mirror.errors import IncompleteError, RequestError, ToolError
from mirror.nix.command import Nix
from mirror.nix.stores import StoreLocation, remove_store
from mirror.planning.lists.list_file import parse_list
from mirror.shipped import lists_directory, shipped_edits
from mirror.sync.offline.check import check
from mirror.sync.run import plan, sync
from mirror.sync.sync_options import SyncOptions
from mirror.sync.workshop import WorkshopOptions, open_workshop
from mirror.system.processes import started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from mirror.demo.upstream import Upstream
    from mirror.destinations import Destination
    from mirror.formats.store_path import StorePath
    from mirror.planning.lists.targets import Target
    from mirror.sync.offline.check import Checked
    from mirror.sync.report import Observer
    from mirror.sync.results import Planned, Synced
    from mirror.sync.workshop import Workshop

_HOST: Final = "laptop"
_JOBS: Final = 16
_SETTINGS: Final = ("substituters =", "build-users-group =", "sandbox = true", "flake-registry =")
_OTHERS: Final = ("NIX_CONFIG", "NIX_PATH", "NIX_REMOTE", "NIX_STORE_DIR", "NIX_STATE_DIR")


class Show(Protocol):
    """How the commands show their results."""

    def plan(self, planned: Planned) -> None:
        """Show a plan, as ``prefetch plan`` does."""
        ...

    def synced(self, synced: Synced, destination: str) -> None:
        """Show what a sync ended with, as ``prefetch sync`` does."""
        ...

    def checked(self, checked: Sequence[Checked], mending: str) -> None:
        """Show what is ready, as ``prefetch check`` does."""
        ...


async def tell(
    directory: Path | None,
    observer: Observer,
    say: Callable[[str], None],
    show: Show,
) -> None:
    """Tell the story; its files stay in ``directory`` if one is given.

    ``say`` prints a line.

    Raises:
        ToolError: Nix, git or a static busybox cannot be used.
        IncompleteError: a step of the demo failed.

    """
    started = time.monotonic()
    with _place(directory) as place:
        nix = await Nix.find(_environment(place))
        await _check_namespaces()
        story = _Story(nix, place, observer, say, show)
        async with story.upstream():
            await story.plan()
            await story.sync_to_store()
            await story.sync_to_directory()
        say(f"\n=== The network is gone: the upstream is stopped. ({place})")
        await story.collect_garbage()
        await story.check()
        await story.build_from_store()
        await story.build_from_directory()
        say(f"\nEverything worked, in {time.monotonic() - started:.0f} seconds.")
        if directory is not None:
            say(f"Everything is in {place}.")


class _Story:
    """The steps, and the state that they share."""

    def __init__(
        self,
        nix: Nix,
        place: Path,
        observer: Observer,
        say: Callable[[str], None],
        show: Show,
    ) -> None:
        self._nix = nix
        self._place = place
        self._observer = observer
        self._say = say
        self._show = show
        self._upstream: Upstream | None = None
        self._client = StoreLocation.parse(f"local?root={place / 'client'}")
        self._evaluation = StoreLocation.parse(f"local?root={place / 'evaluation'}")
        self._directory = place / "prefetch-cache"
        self._kept: frozenset[StorePath] = frozenset()
        self._root: StorePath | None = None

    @contextlib.asynccontextmanager
    async def upstream(self) -> AsyncIterator[None]:
        """Build the upstream and serve it while the context lasts."""
        self._say(
            f"=== An upstream: a small distribution, built with {self._nix.full_name}, "
            "its cache and its sources served on loopback."
        )
        self._observer.step("building it (the one long step)")
        # The list names the distribution as a neighbour, as a list beside a flake does.
        distribution = self._place / "distribution"
        upstream_directory = self._place / "upstream"
        async with serve_upstream(
            self._nix, upstream_directory, distribution=distribution
        ) as upstream:
            self._upstream = upstream
            async with aiofiles.open(lists_directory() / "demo.txt") as shipped:
                text = await shipped.read()
            async with aiofiles.open(self._place / "demo.txt", "w") as own:
                await own.write(text)
            self._say(text.rstrip())
            yield

    async def plan(self) -> None:
        """Say what an empty client would need."""
        self._say(
            f"\n=== What an empty client needs: prefetch plan demo.txt --to {self._client.url}"
        )
        async with (
            NixStore.open(self._nix, self._client, exclusive=False) as destination,
            self._workshop() as workshop,
        ):
            targets = _targets(self._place / "demo.txt")
            planned = await plan(targets, workshop, destination, self._observer)
        self._show.plan(planned)

    async def sync_to_store(self) -> None:
        """Make an empty client store ready."""
        self._say(f"\n=== Make it ready: prefetch sync demo.txt --to {self._client.url}")
        async with NixStore.open(self._nix, self._client) as destination:
            synced = await self._sync(destination)
            self._say("\n=== Run it again: nothing is fetched twice.")
            await self._sync(destination)
        host = next(each for each in synced.plan.targets if each.target.name == _HOST)
        self._kept = frozenset(path for each in synced.kept for path in each.paths)
        self._root = host.root

    async def sync_to_directory(self) -> None:
        """Make a binary cache directory that can serve others."""
        self._say(
            "\n=== Fill a binary cache for other machines: "
            f"prefetch sync demo.txt --to {self._directory}"
        )
        async with CacheDirectory.open(self._directory) as destination:
            await self._sync(destination)

    async def collect_garbage(self) -> None:
        """Run Nix's own garbage collector on the client, and check that it keeps what was kept."""
        self._say("\n=== A real garbage collection on the client (nix-store --gc).")
        await self._run(self._nix, ["nix-store", "--store", self._client.url, "--gc"])
        async with NixStore.open(self._nix, self._client, exclusive=False) as client:
            left = await client.held(self._kept)
        self._expect(len(left) == len(self._kept), "garbage collection took what was kept")
        self._say(f"all {len(self._kept)} kept paths are still there")

    async def check(self) -> None:
        """Check whether the system, with each of the edits, is ready."""
        command = f"demo.txt --to {self._client.url}"
        self._say(f"\n=== Is it ready, and with which edits? prefetch check {command}")
        async with NixStore.open(self._nix, self._client, exclusive=False) as client:
            checked = await check(
                _targets(self._place / "demo.txt"),
                self._nix,
                self._observer,
                store=self._evaluation.url,
                destination=client,
            )
        self._show.checked(checked, f"prefetch sync {command}")
        self._expect(all(each.is_ready for each in checked), "something is not ready")

    async def build_from_store(self) -> None:
        """Build the system in the client's store, without any network interface."""
        self._say("\n=== The client rebuilds its system where there is no network interface.")
        await self._build(self._client, ["substituters ="])

    async def build_from_directory(self) -> None:
        """Build the system in a new store whose only source is the cache directory."""
        self._say(
            "\n=== Another machine, an empty store, no network: "
            f"its one substituter is file://{self._directory}"
        )
        fresh = StoreLocation.parse(f"local?root={self._place / 'fresh'}")
        await self._build(fresh, [f"substituters = file://{self._directory}"])

    def _workshop(self) -> AbstractAsyncContextManager[Workshop]:
        assert self._upstream is not None
        options = WorkshopOptions(
            store=self._evaluation.url,
            substituters=(self._upstream.cache_url,),
            trusted_keys=(self._upstream.public_key,),
            archives=False,
        )
        return open_workshop(self._nix, options, self._observer)

    async def _sync(self, destination: Destination) -> Synced:
        synced = await sync(
            _targets(self._place / "demo.txt"),
            self._workshop(),
            destination,
            self._observer,
            SyncOptions(jobs=_JOBS, keep_going=True),
        )
        self._show.synced(synced, destination.name)
        for _, error in synced.failures:
            self._say(error.message)
        self._expect(synced.is_complete, "the sync is not complete")
        return synced

    async def _build(self, store: StoreLocation, settings: Sequence[str]) -> None:
        assert self._upstream is not None
        assert self._root is not None
        keys = f"trusted-public-keys = {self._upstream.public_key}"
        configuration = "\n".join((self._nix.environment["NIX_CONFIG"], *settings, keys))
        printed = await self._run(
            self._nix.without_network(),
            ["nix-store", "--store", store.url, "--realise", self._root],
            NIX_CONFIG=configuration,
        )
        self._say(f"built {printed.strip()}")

    async def _run(self, nix: Nix, command: Sequence[str], **environment: str) -> str:
        completed = await nix.run(command, environment=environment)
        self._expect(completed.returncode == 0, f"{command[0]} failed:\n{completed.error_text}")
        return completed.stdout.decode()

    def _expect(self, it_is: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence
        if not it_is:
            raise IncompleteError(f"the demo failed: {otherwise}")


def _targets(list_file: Path) -> list[Target]:
    return parse_list(
        list_file.read_text(),
        file=list_file.name,
        directory=list_file.parent,
        shipped_edits=shipped_edits(),
    )


def _environment(place: Path) -> dict[str, str]:
    """This process's environment with the demo's own Nix settings, home and caches."""
    kept = {name: value for name, value in os.environ.items() if name not in _OTHERS}
    home = place / "home"
    home.mkdir()
    return {
        **kept,
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "NIX_CONF_DIR": str(home / "config"),
        "NIX_CONFIG": "\n".join(_SETTINGS),
    }


async def _check_namespaces() -> None:
    """Check that Nix can build in a store of its own, and that the network can be removed.

    Raises:
        ToolError: the kernel refuses the namespaces that this takes.

    """
    command = ("unshare", "--user", "--mount", "--net", "true")
    async with started(command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE) as process:
        _, stderr = await process.communicate()
    if process.returncode != 0:
        raise ToolError(
            "the demo's builds need user namespaces, which are not available here: "
            f"{stderr.decode(errors='replace').strip()}",
            hint="they are refused in a chroot, in a container that is not privileged (Docker: "
            "--privileged), and where /proc/sys/user/max_user_namespaces is 0",
        )


@contextlib.contextmanager
def _place(directory: Path | None) -> Iterator[Path]:
    """A new directory for the demo, removed at its end unless the user named it."""
    if shutil.which("unshare") is None:
        raise ToolError(
            "there is no `unshare`, which takes the network away",
            hint="install util-linux",
        )
    if directory is not None:
        try:
            directory.mkdir(parents=True)
        except OSError as error:
            raise RequestError(
                f"the directory {directory} cannot be made: {error.strerror}",
                hint="name one that does not exist yet",
            ) from error
        yield directory.absolute()
        return
    place = Path(tempfile.mkdtemp(prefix="prefetch-demo-"))
    try:
        yield place
    finally:
        remove_store(place)
