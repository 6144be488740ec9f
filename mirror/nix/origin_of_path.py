"""From a ``.drv``, a store path or a profile link to the derivation that it is or was made by."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.errors import EvaluationError, FormatError, RequestError
from mirror.formats.store_path import STORE_DIRECTORY, StorePath
from mirror.nix.settings import read_settings
from mirror.nix.stores import StoreLocation

if TYPE_CHECKING:
    from mirror.nix.command import Nix

_LINKS_AT_MOST: Final = 40
_LIST_IT_BY_SOURCE: Final = (
    "list the flake or file that it was made from instead (FLAKE#NAME, FILE.nix)"
)


async def derivation_of(nix: Nix, name: str, path: Path, store: StoreLocation) -> StorePath:
    """Find the derivation of the target ``name``, whose installable is ``path``.

    A ``.drv`` that is only in the machine's own store is copied to ``store``.

    Raises:
        EvaluationError: the path is not of a store, or its derivation is not known or not there.
        ToolError: Nix cannot be used.

    """
    try:
        store_path = await asyncio.to_thread(store_path_of, path, store)
    except OSError as error:
        raise EvaluationError(f"{name}: {path} cannot be followed: {error.strerror}") from error
    if store_path is None:
        raise EvaluationError(
            f"{name}: {path} is not a store path or a link to one",
            hint="for a flake, name the attribute: FLAKE#NAME",
        )
    if store_path.is_derivation:
        if not await _is_valid(nix, store_path, store) and not await _import(
            nix, store_path, store
        ):
            raise EvaluationError(
                f"{name}: the derivation {store_path} is not in the store {store.url}",
                hint=_LIST_IT_BY_SOURCE,
            )
        return store_path
    query = ["nix-store", "--store", store.url, "--query", "--deriver", store_path]
    completed = await nix.run(query)
    answer = completed.stdout.decode().strip()
    if completed.returncode != 0:
        raise EvaluationError(f"{name}: {completed.error_text}", hint=_LIST_IT_BY_SOURCE)
    if answer == "unknown-deriver":
        raise EvaluationError(
            f"{name}: the store {store.url} does not know what {store_path} was made from",
            hint=_LIST_IT_BY_SOURCE,
        )
    try:
        deriver = StorePath.parse(answer)
    except FormatError as error:
        raise EvaluationError(f"{name}: Nix names no deriver: {error.message}") from error
    if not await _is_valid(nix, deriver, store):
        raise EvaluationError(
            f"{name}: {store_path} was made from {deriver}, which the store {store.url} no longer"
            " has",
            hint=f"{_LIST_IT_BY_SOURCE}; keep-derivations = true in nix.conf keeps derivations",
        )
    return deriver


def store_path_of(path: Path, store: StoreLocation) -> StorePath | None:
    """Follow links up to the first path in the store; None: they lead elsewhere."""
    for _ in range(_LINKS_AT_MOST):
        for root in {store.root, Path("/")}:
            directory = root / STORE_DIRECTORY.lstrip("/")
            if path.is_relative_to(directory) and path != directory:
                try:
                    return StorePath.from_base_name(path.relative_to(directory).parts[0])
                except FormatError:
                    return None
        # The directory first: the link may be in a directory that is a link itself.
        path = Path(os.path.realpath(path.parent)) / path.name
        if path.is_symlink():
            path = Path(os.path.normpath(path.parent / path.readlink()))
    return None


async def _is_valid(nix: Nix, path: StorePath, store: StoreLocation) -> bool:
    check = ["nix-store", "--store", store.url, "--check-validity", path]
    return (await nix.run(check)).returncode == 0


async def _import(nix: Nix, derivation: StorePath, store: StoreLocation) -> bool:
    """Copy a derivation from the store that Nix uses by itself, if that is another and has it."""
    try:
        own = StoreLocation.parse((await read_settings(nix)).store)
    except RequestError:
        return False
    # Asked of the files: Nix would make the machine's own store where there is none.
    if own.root == store.root or not await asyncio.to_thread(own.real(derivation).exists):
        return False
    copy = ["nix", "copy", "--derivation", "--no-check-sigs", "--to", store.url, derivation]
    return (await nix.run(copy)).returncode == 0
