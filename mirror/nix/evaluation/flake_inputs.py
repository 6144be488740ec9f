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
from mirror.formats.content_address import fixed_output_path
from mirror.formats.hashes import Hash
from mirror.formats.store_path import STORE_DIRECTORY, StorePath
from mirror.masking import has_secrets
from mirror.nix.evaluation.places import place_of
from mirror.planning.sharing import SELF
from mirror.system.plain_files import read_plain_file
from mirror.system.together import together

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mirror.nix.command import Nix
    from mirror.nix.evaluation.places import Place
    from mirror.nix.stores import StoreLocation


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class LockedInput:
    """An input that is a directory, and whose content a lock file fixes.

    ``name`` is what the flake calls it, from its own inputs down (``home-manager/nixpkgs``);
    ``path`` is its source in the store; ``last_modified`` (seconds since 1970) is what the lock
    file says, which Nix compares, None if it does not say.
    """

    name: str
    path: StorePath
    last_modified: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlakeInputs:
    """A flake and its inputs.

    ``source`` is the flake's own; ``paths`` has it and all inputs, ``locked`` (sorted) names those
    that have a source of their own. ``registry`` maps an indirect
    reference (``flake:nixpkgs``) to the locked one that it stands for; it is empty for others.
    ``lock_hash`` is the SHA-256 of the lock file's bytes, None where there is none; ``unlocked``
    are the inputs of the flake itself that the lock file does not have. ``names`` has every name
    that leads to a path, ``self`` for the source; ``places`` where they come from, without those
    that come from no place that anybody can ask.
    """

    source: StorePath
    paths: frozenset[StorePath]
    locked: tuple[LockedInput, ...]
    registry: Mapping[str, str]
    lock_hash: str | None
    unlocked: tuple[str, ...]
    names: Mapping[str, StorePath]
    places: Mapping[StorePath, frozenset[Place]]


async def flake_inputs(nix: Nix, flake: str, *, store: StoreLocation) -> FlakeInputs:
    """Have all inputs of ``flake`` in ``store``; those that are there already are not fetched.

    Raises:
        EvaluationError: an input cannot be fetched; the message ends with Nix's own words.
        ToolError: Nix cannot be used.

    """
    archive, metadata = await together(
        _ask(nix, "archive", flake, store), _ask(nix, "metadata", flake, store)
    )
    source = StorePath.parse(archive["path"])
    indirect = metadata["original"]["type"] == "indirect"
    directory = metadata["resolved"].get("dir", "")
    lock = await asyncio.to_thread(_read, store.real(source) / directory / "flake.lock")
    every = list(_locked(archive, source, metadata["locks"]))
    locked = await asyncio.to_thread(
        lambda: [each for each in every if store.real(each.path).is_dir()]
    )
    places: dict[StorePath, set[Place]] = {}
    whole = {source: metadata["locked"]} if not has_secrets(flake) else {}
    for path, reference in (*whole.items(), *_references(metadata["locks"])):
        if (place := place_of(reference)) is not None:
            places.setdefault(path, set()).add(place)
    return FlakeInputs(
        source=source,
        paths=frozenset({source, *(path for _, path in _paths(archive))}),
        locked=tuple(sorted(locked)),
        registry={metadata["originalUrl"]: metadata["url"]} if indirect else {},
        lock_hash=None if lock is None else Hash.of(lock).base16,
        unlocked=tuple(sorted(_root_inputs(metadata["locks"]) - _locked_inputs(lock))),
        names={**dict(_paths(archive)), SELF: source},
        places={path: frozenset(each) for path, each in places.items()},
    )


async def _ask(nix: Nix, subcommand: str, flake: str, store: StoreLocation) -> dict[str, Any]:
    command = ["nix", "flake", subcommand, "--json", "--no-write-lock-file"]
    completed = await nix.run([*command, "--store", store.url, flake])
    if completed.returncode != 0:
        raise EvaluationError(
            f"the inputs of the flake {flake} cannot be fetched:\n{completed.error_text}"
        )
    answer: dict[str, Any] = json.loads(completed.stdout)
    return answer


def _paths(archive: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, StorePath]]:
    """Every input in the tree, by name; one within another's source has that source's path."""
    for word, node in archive["inputs"].items():
        name = f"{within}/{word}" if within else word
        if (path := node.get("path")) is not None:
            base_name = path.removeprefix(f"{STORE_DIRECTORY}/").partition("/")[0]
            yield name, StorePath.from_base_name(base_name)
        yield from _paths(node, name)


def _locked(
    archive: Mapping[str, Any], source: StorePath, locks: Mapping[str, Any]
) -> Iterator[LockedInput]:
    """Each source of the tree but the flake's own, by the first of its shortest names."""
    modified = {path: locked.get("lastModified") for path, locked in _references(locks)}
    names: dict[StorePath, str] = {}
    for name, path in sorted(_paths(archive), key=lambda each: (each[0].count("/"), each[0])):
        names.setdefault(path, name)
    for path, name in names.items():
        if path != source:
            yield LockedInput(name=name, path=path, last_modified=modified.get(path))


def _references(locks: Mapping[str, Any]) -> Iterator[tuple[StorePath, Mapping[str, Any]]]:
    """What the nodes of a lock file are locked to, with the path of each."""
    for node in locks["nodes"].values():
        locked = node.get("locked", {})
        if "narHash" in locked:
            digest = Hash.parse(locked["narHash"])
            yield fixed_output_path("source", hash=digest, recursive=True), locked


def _read(file: Path) -> bytes | None:
    try:
        return read_plain_file(file)
    except FileNotFoundError:
        return None


def _locked_inputs(lock: bytes | None) -> set[str]:
    return set() if lock is None else _root_inputs(json.loads(lock))


def _root_inputs(locks: Mapping[str, Any]) -> set[str]:
    return set(locks["nodes"][locks["root"]].get("inputs", {}))
