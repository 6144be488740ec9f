"""Where a rehearsal takes place: a machine, a scratch store's room and source, a newcomer."""

from __future__ import annotations

import contextlib
import grp
import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from mirror.destinations import NixStore
from mirror.errors import DestinationError, ToolError
from mirror.nix.protocol import daemon
from mirror.sources.caches.binary_cache import BinaryCache
from mirror.sources.http.settings import HttpSettings
from mirror.sources.local_store import LocalStore
from mirror.sync.offline.kept_derivations import read_graph, reader
from mirror.system.temporaries import remove_left_behind, remove_tree, temporary_directory
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from mirror.destinations import CacheDirectory, Generation
    from mirror.nix.command import Nix
    from mirror.nix.settings import NixSettings
    from mirror.sources import Nar, Source, Wanted

_ALONE: Final = """
substituters =
extra-substituters =
substitute = false
builders =
flake-registry =
"""
"""Settings with which Nix asks nobody, whoever may be reached."""


@contextlib.asynccontextmanager
async def scratch_directory(place: Path) -> AsyncIterator[Path]:
    """Make a directory for a scratch store, and remove it with all that is in it."""
    await in_thread(remove_left_behind, place)
    with contextlib.ExitStack() as stack:
        try:
            directory = stack.enter_context(temporary_directory(place))
            # Builders that are other users have to get through.
            directory.chmod(0o711)
        except OSError as error:
            raise DestinationError(
                f"{place}: {error.strerror}",
                hint="name a directory for temporary files with TMPDIR",
            ) from error
        try:
            yield directory
        finally:
            # Here, off the event loop: it takes its time.
            await in_thread(remove_tree, directory)


def expect_room(place: Path, generation: Generation) -> None:
    """See that a generation fits into a scratch store.

    Raises:
        DestinationError: it does not.

    """
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        raise DestinationError(f"{place}: {error.strerror}", hint="set TMPDIR") from error
    if free < generation.nar_bytes:
        more = generation.nar_bytes - free
        raise DestinationError(
            f"rehearsing {generation.target} takes {generation.nar_bytes:,} bytes in {place}, "
            f"{more:,} more than are free",
            hint="make room there, or name another directory with TMPDIR",
        )


def refusal(
    generation: Generation, destination: CacheDirectory | NixStore, settings: NixSettings
) -> ToolError | None:
    """Why this machine does not build a generation's target; None if it does, or it is not known.

    It blocks.
    """
    for derivation in read_graph([generation.root], reader(destination)).derivations.values():
        if (problem := settings.unbuildable(derivation.system)) is not None:
            return ToolError(
                f"it is {problem}",
                hint="rehearse it on a machine that does, or let Nix here build for it "
                "(extra-platforms)",
            )
    return None


def newcomer(nix: Nix, home: Path) -> Nix:
    """The same Nix of a user who never ran it: no caches, no profile, nobody to ask.

    The user's settings, channels and registry of flakes are files like the list itself, and stay.
    Temporary files go below ``home``: a builder that has to be killed leaves its own behind.
    """
    environment = dict(nix.environment)
    old_home = nix.home
    old = environment.get("XDG_CONFIG_HOME") or f"{old_home}/.config"
    further = environment.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    environment.setdefault(
        "NIX_USER_CONF_FILES",
        ":".join(f"{directory}/nix/nix.conf" for directory in (old, *further.split(":"))),
    )
    temporary = home / "tmp"
    for directory in (home, temporary):
        directory.mkdir()
        # Builders that are other users have to get through, whatever the umask is.
        directory.chmod(0o711)
    if (old_home / ".nix-defexpr").exists():
        (home / ".nix-defexpr").symlink_to(old_home / ".nix-defexpr")
    for kind in ("CACHE", "CONFIG", "DATA", "STATE"):
        directory = home / kind.lower()
        directory.mkdir()
        environment[f"XDG_{kind}_HOME"] = str(directory)
    (home / "config/nix").mkdir()
    with contextlib.suppress(FileNotFoundError):
        shutil.copy(f"{old}/nix/registry.json", home / "config/nix")
    environment["TMPDIR"] = str(temporary)
    environment["HOME"] = str(home)
    environment["NIX_CONFIG"] = f"{environment.get('NIX_CONFIG', '')}\n{_ALONE}{_build_users()}"
    return replace(nix, environment=environment)


def _build_users() -> str:
    """Let root build as itself where its Nix has no users for that: else it builds nothing."""
    try:
        grp.getgrnam("nixbld")
    except KeyError:
        return "build-users-group =\n"
    return ""


@dataclass(frozen=True, slots=True)
class _KeptHere:
    """A source of which every path is asked for, however many are damaged."""

    source: Source
    name: str = field(init=False)
    is_one_party: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.source.name)

    def open(self, wanted: Wanted) -> AbstractAsyncContextManager[Nar]:
        return self.source.open(wanted)


@contextlib.asynccontextmanager
async def kept(destination: CacheDirectory | NixStore, nix: Nix) -> AsyncIterator[Source]:
    """Open the destination as a source."""
    if isinstance(destination, NixStore):
        async with daemon.connect(nix, destination.store) as connection:
            yield LocalStore(connection, destination.store)
        return
    from mirror.sources.http.client import HttpClient  # noqa: PLC0415 - start-up time

    async with HttpClient(HttpSettings()) as client:
        url = f"file://{quote(str(destination.path))}?trusted=true"
        yield _KeptHere(await BinaryCache.connect(url, client))
