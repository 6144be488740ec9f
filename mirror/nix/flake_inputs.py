"""What a flake is made of: its own source and all its locked inputs, in the evaluating store.

``nix flake archive`` fetches every input that is not in the store yet, used or not, transitive ones
and those that are no flakes; it says where each is. Its inputs within the flake's own source
(``path:./sub``) are in that source.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirror.errors import EvaluationError
from mirror.formats.hashes import Hash
from mirror.formats.store_path import STORE_DIRECTORY, StorePath

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mirror.nix.command import Nix
    from mirror.nix.stores import StoreLocation


@dataclass(frozen=True, slots=True, kw_only=True)
class FlakeInputs:
    """A flake and its inputs.

    ``source`` is the flake's own; ``paths`` has it and all inputs. ``registry`` maps an indirect
    reference (``flake:nixpkgs``) to the locked one that it stands for; it is empty for others.
    ``lock_hash`` is the SHA-256 of the lock file's bytes, None where there is none; ``unlocked``
    are the inputs of the flake itself that the lock file does not have.
    """

    source: StorePath
    paths: frozenset[StorePath]
    registry: Mapping[str, str]
    lock_hash: str | None
    unlocked: tuple[str, ...]


async def flake_inputs(nix: Nix, flake: str, *, store: StoreLocation) -> FlakeInputs:
    """Have all inputs of ``flake`` in ``store``; those that are there already are not fetched.

    Raises:
        EvaluationError: an input cannot be fetched; the message ends with Nix's own words.
        ToolError: Nix cannot be used.

    """
    archive, metadata = await asyncio.gather(
        _ask(nix, "archive", flake, store), _ask(nix, "metadata", flake, store)
    )
    source = StorePath.parse(archive["path"])
    indirect = metadata["original"]["type"] == "indirect"
    directory = metadata["resolved"].get("dir", "")
    lock = await asyncio.to_thread(_read, store.real(source) / directory / "flake.lock")
    return FlakeInputs(
        source=source,
        paths=frozenset(_paths(archive)),
        registry={metadata["originalUrl"]: metadata["url"]} if indirect else {},
        lock_hash=None if lock is None else Hash.of(lock).base16,
        unlocked=tuple(sorted(_root_inputs(metadata["locks"]) - _locked_inputs(lock))),
    )


async def _ask(nix: Nix, subcommand: str, flake: str, store: StoreLocation) -> dict[str, Any]:
    command = ["nix", "flake", subcommand, "--json", "--no-write-lock-file"]
    completed = await nix.run([*command, "--store", store.url, flake])
    if completed.returncode != 0:
        raise EvaluationError(
            f"the inputs of the flake {flake} cannot be had:\n{completed.error_text}"
        )
    answer: dict[str, Any] = json.loads(completed.stdout)
    return answer


def _paths(archive: Mapping[str, Any]) -> Iterator[StorePath]:
    """Every path in the tree of inputs; one within another's source has that source's path."""
    path = archive.get("path")
    if path is not None:
        base_name = path.removeprefix(f"{STORE_DIRECTORY}/").partition("/")[0]
        yield StorePath.from_base_name(base_name)
    for node in archive["inputs"].values():
        yield from _paths(node)


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def _locked_inputs(lock: bytes | None) -> set[str]:
    return set() if lock is None else _root_inputs(json.loads(lock))


def _root_inputs(locks: Mapping[str, Any]) -> set[str]:
    return set(locks["nodes"][locks["root"]].get("inputs", {}))
