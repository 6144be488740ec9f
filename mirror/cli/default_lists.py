"""What a command is about where neither a list nor a target is named."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Final

from mirror.system.plain_files import read_plain_file

FLAKE: Final = Path("flake.nix")
"""A flake of the working directory, which is about its hosts if it has any."""

_HOSTS: Final = "nixosConfigurations"

LISTS: Final = (Path("hosts.txt"), Path("/etc/prefetch/hosts.txt"))
"""The lists that are looked for, in this order."""

NIXOS: Final = Path("/etc/nixos")
"""Where nixos-rebuild looks for this machine."""
_VARIABLE: Final = "NIXOS_CONFIG"

NONE_FOUND: Final = (
    f"looked for ./{LISTS[0]}, {LISTS[1]}, ./{FLAKE} with {_HOSTS}, {NIXOS}/flake.nix, "
    f"what {_VARIABLE} names, and {NIXOS}/configuration.nix. Name a list, or a target such as "
    ".#laptop"
)


def default_lists() -> list[str]:
    """The first list that is there, else the hosts of a flake here, else this machine; or nothing.

    The flake of the working directory counts if its text mentions NixOS configurations. This
    machine is what ``nixos-rebuild`` finds: in ``/etc/nixos``, the flake's configuration of the
    host's name, else the file that ``NIXOS_CONFIG`` names, else ``configuration.nix``.
    """
    for each in LISTS:
        if _is_there(each):
            return [str(each)]
    if _has_hosts(FLAKE):
        return ["."]
    # The flake may be kept elsewhere, and linked to; that directory is the repository then.
    flake = Path(os.path.realpath(NIXOS / "flake.nix"))
    if _is_there(flake):
        return [f"{flake.parent}#{socket.gethostname().partition('.')[0]}"]
    configuration = Path(os.environ.get(_VARIABLE) or NIXOS / "configuration.nix")
    return [str(configuration)] if _is_there(configuration) else []


def _has_hosts(flake: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return _HOSTS in read_plain_file(flake).decode()
    return False


def _is_there(path: Path) -> bool:
    # Where a directory may not be searched, what is in it is not there for this user.
    return os.path.exists(path)  # noqa: PTH110 - False whatever the error
