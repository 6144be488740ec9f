"""``/status.json``: what the status page shows, for programs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mirror import schemas
from mirror.planning.changes import as_members as since_as_members
from mirror.planning.refusals import as_members
from mirror.version import program_version

if TYPE_CHECKING:
    from collections.abc import Collection

    from mirror.formats.store_path import StorePath
    from mirror.serve.status.client_setup import Client
    from mirror.serve.status.metrics import Counters
    from mirror.serve.status.overview import Host, Kept, Overview


def render(
    overview: Overview,
    client: Client,
    name: str,
    file_bytes: int | None,
    *,
    title: str | None = None,
    counters: Counters | None = None,
) -> str:
    """Write the document; ``name`` is what is served, ``file_bytes`` the size of its NARs.

    ``counters`` are the server's; None without a server.
    """
    oldest = overview.oldest_rehearsal
    members = {
        "prefetch": program_version(),
        "title": title or name,
        "served": name,
        "as_of": datetime.now(UTC).isoformat(timespec="seconds"),
        "url": client.url,
        "public_keys": client.public_keys,
        "priority": client.priority,
        "paths": overview.paths,
        "file_bytes": file_bytes,
        "sources": len(overview.files),
        "attention": len(overview.troubled),
        "hosts": [_host(host, client, overview.private) for host in overview.hosts],
        "oldest_rehearsal": oldest.isoformat() if oldest else None,
        "server": None
        if counters is None
        else {
            "started": counters.since.isoformat(),
            "sent_bytes": counters.sent_bytes,
        },
        "removal": overview.removal,
        "unreadable": overview.unreadable,
        "inputs": [
            {"name": each.name, "path": each.path, "url": client.input_url(each.path)}
            for each in sorted(overview.inputs.values())
        ],
        "client": {
            "keys": client.keys,
            "nix_conf": client.nix_conf,
            "nixos": client.nixos_module,
            "hashed_mirrors": client.sources(),
            "seconds_lost_while_away": client.patience,
            "seconds_lost_at_a_halt": client.patience_with_a_halt,
        },
    }
    return schemas.encode("status", members) + "\n"


def _host(host: Host, client: Client, private: Collection[StorePath]) -> dict[str, Any]:
    """A host; ``private`` paths are not named."""
    run, rehearsal, refreshed = host.run, host.rehearsal, host.refreshed
    return {
        "name": host.name,
        "listed": host.is_listed,
        "state": host.state[0],
        "severity": host.state[1],
        "complete": host.is_complete,
        "lost": [each for each in host.lost if each not in private],
        "refreshed": refreshed.isoformat() if refreshed else None,
        "generations": [_generation(each, private) for each in host.generations],
        "rehearsal": None
        if rehearsal is None
        else {
            "state": rehearsal.state,
            "created": rehearsal.receipt.created.isoformat(),
            "nix_version": rehearsal.receipt.nix_version,
            "problem": rehearsal.receipt.problem,
            "edits": dict(rehearsal.receipt.edits),
        },
        "last_run": None
        if run is None
        else {
            "finished": run.finished.isoformat(),
            "complete": run.is_complete,
            "problems": run.problems,
            "only_copies": run.only_copies,
            "refused": as_members(run.refused),
            "duration_seconds": run.duration_seconds,
            "received_bytes": run.received_bytes,
            "state": run.state,
            "left_out": list(run.left_out),
            "changed": since_as_members(run.changed),
        },
        "client": _of_client(host, client, private),
    }


def _of_client(host: Host, client: Client, private: Collection[StorePath]) -> dict[str, Any] | None:
    """A host for clients; ``refused`` are the paths that they would refuse."""
    kept, vouching = host.newest_kept, host.vouching
    if kept is None:
        return None
    return {
        "keys": host.keys,
        "command": client.command(kept.realisable, host.keys) if kept.realisable else None,
        "look": client.look(kept.realisable, host.keys) if kept.realisable else None,
        "refused": sorted(vouching.refused.keys() - private) if vouching else [],
    }


def _generation(kept: Kept, private: Collection[StorePath]) -> dict[str, Any]:
    generation = kept.generation
    return {
        "number": generation.number,
        "installable": generation.installable,
        "level": generation.level,
        "root": generation.root,
        "created": generation.created.isoformat(),
        "paths": kept.paths,
        "nar_bytes": generation.nar_bytes,
        "missing": [each for each in generation.missing if each not in private],
        "missing_private": sum(each in private for each in generation.missing),
        "refused": as_members(each for each in generation.refused if each.path not in private),
    }
