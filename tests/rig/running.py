"""Running Nix in tests: scratch stores, extra settings, no network at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mirror.nix.stores import remove_store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mirror.nix.command import Nix

NO_NETWORK: Final = (
    ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user", "--net")
)
"""In front of a command: it runs where no interface is up, not even loopback."""

_FEATURES: Final = "extra-experimental-features = nix-command flakes"


@dataclass(frozen=True, slots=True)
class ScratchStore:
    """A Nix store of its own in a directory, which need not be there yet."""

    directory: Path

    @property
    def url(self) -> str:
        """As ``--store`` takes it."""
        return f"local?root={self.directory}"

    def real(self, path: str) -> Path:
        """Where the content of ``/nix/store/…`` is."""
        return self.directory / path.lstrip("/")

    def remove(self) -> None:
        """Remove it, read-only as it is."""
        remove_store(self.directory)


def run(
    nix: Nix,
    *command: str,
    store: ScratchStore | None = None,
    config: Sequence[str] = (),
    offline: bool = False,
    before: Sequence[str] = (),
    check: bool = True,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run one of Nix's programs to its end; ``config`` are more lines for ``NIX_CONFIG``.

    ``before`` is put in front of the command.

    With ``check``, a failure fails the test with what Nix said.
    """
    program = shutil.which(command[0], path=nix.environment["PATH"])
    assert program is not None, f"no {command[0]}"
    stored = [*command[1:]]
    if store is not None:
        # The new command takes its options after the subcommand, the old ones anywhere.
        place = 1 if command[0] == "nix" else 0
        stored[place:place] = ["--store", store.url]
    completed = subprocess.run(
        [*(NO_NETWORK if offline else ()), *before, program, *stored],
        env={
            **nix.environment,
            "NIX_CONFIG": "\n".join((nix.environment["NIX_CONFIG"], _FEATURES, *config)),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        cwd=cwd,
        check=False,
    )
    if check:
        assert completed.returncode == 0, f"{' '.join(command)}\n{completed.stderr}"
    return completed


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What Nix says it would do: derivations it would build, paths it would fetch."""

    build: frozenset[str]
    substitute: frozenset[str]
    unknown: frozenset[str]


def dry_run(
    nix: Nix,
    derivation: str,
    *,
    store: ScratchStore,
    caches: Sequence[str] = (),
    config: Sequence[str] = (),
) -> DryRun:
    """What realising ``derivation``, which ``store`` has, would build and fetch from ``caches``.

    ``config`` comes after them, and so can name others.
    """
    completed = run(
        nix,
        *("nix-store", "--realise", "--dry-run", derivation),
        store=store,
        config=(f"substituters = {' '.join(caches)}", *config),
    )
    return parse_dry_run(completed.stderr)


def parse_dry_run(said: str) -> DryRun:
    """Read what Nix says it would do."""
    found: dict[str, set[str]] = {"build": set(), "substitute": set(), "unknown": set()}
    kind = None
    for line in said.splitlines():
        if line.startswith(("this derivation will be built", "these")) and "built" in line:
            kind = "build"
        elif "will be fetched" in line:
            kind = "substitute"
        elif line.startswith("don't know how to build"):
            kind = "unknown"
        elif line.startswith("  /nix/store/") and kind is not None:
            found[kind].add(line.strip())
    return DryRun(**{name: frozenset(paths) for name, paths in found.items()})


def collect_garbage(nix: Nix, store: ScratchStore) -> set[str]:
    """Run a real garbage collection; the store paths that are valid after it."""
    run(nix, "nix-store", "--gc", store=store)
    return set(run(nix, "nix", "path-info", "--all", store=store).stdout.split())


def instantiate(nix: Nix, file: Path, attribute: str, *, store: ScratchStore) -> str:
    """Evaluate an attribute of a file; the path of its derivation, which ``store`` then has."""
    return run(nix, "nix-instantiate", str(file), "-A", attribute, store=store).stdout.split()[0]


def evaluate(nix: Nix, expression: str, *, store: ScratchStore) -> Any:
    """The value of an expression."""
    return json.loads(
        run(nix, "nix", "eval", "--impure", "--json", "--expr", expression, store=store).stdout
    )
