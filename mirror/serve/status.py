"""``/status.json``: what the status page shows, for programs; and how a client is set up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mirror import schemas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.formats.store_path import StorePath
    from mirror.serve.overview import Host, Kept, Overview

CONNECT_SECONDS: Final = 3
"""How long a client waits for a connection; it tries so often as it attempts a download."""

STALLED_SECONDS: Final = 10
"""How long a client waits for more of a file that it began to get."""

DOWNLOAD_ATTEMPTS: Final = 2
"""How often a client tries before it asks its other caches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What a client has to be told to use this server.

    ``url`` is that by which whoever asks has reached it; ``public_keys`` are of the keys that sign
    what is made here, the newest last.
    """

    url: str
    public_keys: tuple[str, ...]
    priority: int

    @property
    def settings(self) -> Mapping[str, str]:
        """Settings of Nix, in the order in which they are shown.

        A client is never worse off with them when the server is away or fails: it waits a few
        seconds and asks its other caches, or builds.
        """
        return {
            "extra-substituters": self.url,
            **(
                {"extra-trusted-public-keys": " ".join(self.public_keys)}
                if self.public_keys
                else {}
            ),
            "fallback": "true",
            "connect-timeout": str(CONNECT_SECONDS),
            "stalled-download-timeout": str(STALLED_SECONDS),
            "download-attempts": str(DOWNLOAD_ATTEMPTS),
        }

    @property
    def patience(self) -> int:
        """How many seconds a command of Nix loses when this machine is away."""
        return CONNECT_SECONDS * DOWNLOAD_ATTEMPTS

    @property
    def patience_with_a_halt(self) -> int:
        """How many seconds it loses when this machine takes connections, and sends nothing."""
        return STALLED_SECONDS * DOWNLOAD_ATTEMPTS

    @property
    def nix_conf(self) -> str:
        """Lines for ``nix.conf``."""
        return "\n".join(f"{name} = {value}" for name, value in self.settings.items())

    @property
    def nixos_module(self) -> str:
        """The same as a NixOS module; lists there add to those that NixOS itself has."""
        keys = "".join(f' "{each}"' for each in self.public_keys)
        lines = [f'nix.settings.substituters = [ "{self.url}" ];']
        if keys:
            lines.append(f"nix.settings.trusted-public-keys = [{keys} ];")
        lines += [
            "nix.settings.fallback = true;",
            f"nix.settings.connect-timeout = {CONNECT_SECONDS};",
            f"nix.settings.stalled-download-timeout = {STALLED_SECONDS};",
            f"nix.settings.download-attempts = {DOWNLOAD_ATTEMPTS};",
        ]
        return "\n".join(lines)

    def command(self, root: StorePath) -> str:
        """One command that realises a derivation with this server, without any set-up."""
        options = " \\\n  ".join(
            f"--option {name} '{value}'" for name, value in self.settings.items()
        )
        return f"nix-store --realise {root} \\\n  {options}"

    def sources(self) -> str:
        """Settings with which Nix, and the fetchurl of nixpkgs, get sources by their hash."""
        return f"hashed-mirrors = {self.url}/"

    def input_url(self, path: StorePath) -> str:
        """Where a flake's input is to be had."""
        return f"{self.url}/inputs/{path.hash_part}.tar"


def render(overview: Overview, client: Client, file_bytes: int | None) -> str:
    """Write the document."""
    members = {
        "url": client.url,
        "public_keys": client.public_keys,
        "priority": client.priority,
        "paths": overview.paths,
        "file_bytes": file_bytes,
        "sources": len(overview.files),
        "hosts": [_host(host) for host in overview.hosts],
        "unreadable": overview.unreadable,
        "inputs": [
            {"name": each.name, "path": each.path, "url": client.input_url(each.path)}
            for each in sorted(overview.inputs.values())
        ],
        "client": {"nix_conf": client.nix_conf, "nixos": client.nixos_module},
    }
    return schemas.encode("status", members) + "\n"


def _host(host: Host) -> dict[str, Any]:
    run, rehearsal, refreshed = host.run, host.rehearsal, host.refreshed
    return {
        "name": host.name,
        "listed": host.is_listed,
        "refreshed": refreshed.isoformat() if refreshed else None,
        "generations": [_generation(each) for each in host.generations],
        "rehearsal": None
        if rehearsal is None
        else {"state": rehearsal.state, "created": rehearsal.receipt.created.isoformat()},
        "last_run": None
        if run is None
        else {
            "finished": run.finished.isoformat(),
            "complete": run.is_complete,
            "problems": run.problems,
            "only_copies": run.only_copies,
        },
    }


def _generation(kept: Kept) -> dict[str, Any]:
    generation = kept.generation
    return {
        "number": generation.number,
        "installable": generation.installable,
        "level": generation.level,
        "root": generation.root,
        "created": generation.created.isoformat(),
        "paths": kept.paths,
        "nar_bytes": generation.nar_bytes,
        "missing": generation.missing,
    }
