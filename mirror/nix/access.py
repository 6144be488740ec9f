"""How this user gets at the Nix store, and so whose settings count: the user's, or the daemon's.

Who opens the store directly uses any settings. A daemon takes the settings of its trusted users; of
another user's it leaves out the caches that it does not know, and the keys.
"""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass
from grp import getgrall
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.errors import ToolError
from mirror.formats.store_path import STORE_DIRECTORY
from mirror.nix.settings import read_system_settings
from mirror.nix.stores import locate, open_store
from mirror.system.threads import in_thread
from mirror.system.together import together

if TYPE_CHECKING:
    from collections.abc import Collection

    from mirror.nix.command import Nix
    from mirror.nix.settings import NixSettings
    from mirror.nix.stores import StoreLocation

_STORE: Final = re.compile(r"^Store URL: (.+)$", re.MULTILINE)
_TRUSTED: Final = re.compile(r"^Trusted: ([01])$", re.MULTILINE)
_DAEMONS: Final = ("daemon", "unix:")
_NIXOS: Final = "/etc/NIXOS"
_STORE_DIRECTORY: Final = f"{STORE_DIRECTORY}/"
_SYSTEM_DIRECTORY: Final = "/etc/nix"
_OWNED_BY_DETERMINATE: Final = "nix.custom.conf"
"""Where the lines of a user go if Determinate Nix writes ``nix.conf`` itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How ``user`` gets at a store.

    ``system`` are the settings without the user's own, which a daemon goes by, if it has one.
    ``is_trusted``: the daemon takes this user's settings, or there is none. ``system_file`` and
    ``user_file`` are where settings are read from; ``is_generated``: the first is made from a NixOS
    configuration.
    """

    store: StoreLocation
    user: str
    system: NixSettings
    has_daemon: bool
    is_trusted: bool
    system_file: Path
    user_file: Path
    is_generated: bool


async def find_access(nix: Nix, url: str | None) -> Access:
    """Find out how this user gets at the store that a URL means (None: the one that Nix uses).

    Raises:
        RequestError: it is not one whose files this machine can see.
        ToolError: Nix cannot open it.

    """
    store = await locate(nix, url)
    opened, system = await together(open_store(nix, store), read_system_settings(nix))
    said = opened.stdout.decode(errors="replace") + opened.stderr
    named = _STORE.search(said)
    if named is None:
        raise ToolError(f"{nix.full_name} does not say how it opens the store {store.url}")
    told = _TRUSTED.search(said)
    user = pwd.getpwuid(os.geteuid()).pw_name
    has_daemon = named[1].startswith(_DAEMONS)
    if not has_daemon:
        trusted = True
    elif told is not None:
        trusted = told[1] == "1"
    else:
        # A Nix before 2.14 does not say.
        trusted = await in_thread(_is_among, user, system.trusted_users)
    system_file, user_file = _files(nix)
    return Access(
        store=store,
        user=user,
        system=system,
        has_daemon=has_daemon,
        is_trusted=trusted,
        system_file=system_file,
        user_file=user_file,
        is_generated=await in_thread(_is_generated, system_file),
    )


def _files(nix: Nix) -> tuple[Path, Path]:
    """The files that settings are read from: the system's, the user's."""
    environment = nix.environment
    directory = Path(environment.get("NIX_CONF_DIR") or _SYSTEM_DIRECTORY)
    custom = directory / _OWNED_BY_DETERMINATE
    configured = Path(environment.get("XDG_CONFIG_HOME") or nix.home / ".config")
    named = [each for each in environment.get("NIX_USER_CONF_FILES", "").split(":") if each]
    return (
        # Whoever may not look there is told of the other.
        custom if os.path.exists(custom) else directory / "nix.conf",  # noqa: PTH110
        Path(named[0]) if named else configured / "nix/nix.conf",
    )


def _is_generated(file: Path) -> bool:
    return os.path.exists(_NIXOS) or os.path.realpath(file).startswith(_STORE_DIRECTORY)  # noqa: PTH110


def _is_among(user: str, names: Collection[str]) -> bool:
    """Whether a user is one of those whom ``trusted-users`` names, also by ``@group`` or ``*``."""
    if user in names or "*" in names:
        return True
    account = pwd.getpwnam(user)
    groups = {
        each.gr_name for each in getgrall() if user in each.gr_mem or each.gr_gid == account.pw_gid
    }
    return any(f"@{each}" in names for each in groups)
