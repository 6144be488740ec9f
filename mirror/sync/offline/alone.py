"""The environment of a rehearsal: the machine, room for a scratch store, a new user."""

from __future__ import annotations

import contextlib
import grp
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mirror.errors import DestinationError, ToolError
from mirror.sync.kept.kept_derivations import read_graph
from mirror.system.temporaries import remove_left_behind, remove_tree, temporary_directory
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mirror.destinations import Destination, Generation
    from mirror.nix.command import Nix
    from mirror.nix.settings import NixSettings

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
    """Check that a generation fits into a scratch store.

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


async def refusal(
    generation: Generation, destination: Destination, settings: NixSettings
) -> ToolError | None:
    """Why this machine does not build a generation's target; None if it does, or it is not known.

    Raises:
        DestinationError: the destination cannot be looked at.

    """
    graph = await read_graph(destination, [generation.root])
    for derivation in graph.derivations.values():
        if (problem := settings.unbuildable(derivation.system)) is not None:
            return ToolError(
                f"it is {problem}",
                hint="rehearse it on a machine that does, or let Nix here build for it "
                "(extra-platforms)",
            )
    return None


def newcomer(nix: Nix, home: Path) -> Nix:
    """The same Nix for a user who never ran it: no caches, no profile.

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
    """Let root build as itself if Nix has no build users: otherwise it builds nothing."""
    try:
        grp.getgrnam("nixbld")
    except KeyError:
        return "build-users-group =\n"
    return ""
