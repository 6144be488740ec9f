"""What a client asks for: installables evaluated, and the derivations that they are made of."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.errors import EvaluationError
from mirror.formats.store_path import StorePath
from mirror.nix.derivations import read_closure
from mirror.nix.evaluation.evaluate import evaluate
from mirror.nix.origin_of_path import store_path_of
from mirror.nix.stores import StoreLocation, open_store
from mirror.planning.graph import Graph
from mirror.planning.lists.targets import PathInstallable
from mirror.system.temporaries import temporary_directory
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.nix.command import Nix
    from mirror.nix.protocol.connection import Connection
    from mirror.planning.lists.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """An installable as it was asked for, and the derivation or path that it is."""

    text: str
    path: StorePath


async def find_wish(
    installable: Target | StorePath, nix: Nix, store: StoreLocation, *, system: str
) -> Wish:
    """Evaluate an installable, unless it is a path of the store or a link to one.

    Raises:
        EvaluationError: it cannot be evaluated.
        ToolError: Nix cannot be used.

    """
    if isinstance(installable, StorePath):
        return Wish(text=installable, path=installable)
    text, named = installable.installable_text, installable.installable
    if isinstance(named, PathInstallable):
        path = await in_thread(_linked, named, store)
        if path is None:
            raise EvaluationError(
                f"{text} is not a store path or a link to one",
                hint="for a flake, name the attribute: FLAKE#NAME",
            )
        return Wish(text=text, path=path)
    evaluated = await evaluate(nix, installable, store=store, system=system)
    return Wish(text=text, path=evaluated.root)


def _linked(installable: PathInstallable, store: StoreLocation) -> StorePath | None:
    try:
        return store_path_of(installable.path, store)
    except OSError as error:
        raise EvaluationError(
            f"{installable.path} cannot be followed: {error.strerror or error}"
        ) from error


async def read_graph(
    wishes: Sequence[Wish],
    nix: Nix,
    store: StoreLocation,
    connection: Connection,
    cache: str | None,
) -> Graph:
    """The derivations that the wishes are made of; of those that are not here, the cache's.

    One that is nowhere is left out. ``cache`` is None where it does not answer.

    Raises:
        ToolError: Nix cannot be used.

    """
    roots = {each.path for each in wishes if each.path.is_derivation}
    here = await connection.query_valid_paths(sorted(roots))
    derivations = dict(await in_thread(read_closure, store, sorted(here)))
    with contextlib.ExitStack() as stack:
        absent = sorted(roots - here)
        if absent and cache is not None:
            directory = stack.enter_context(temporary_directory())
            scratch = StoreLocation.parse(f"local?root={directory}/store")
            await open_store(nix, scratch)
            for root in absent:
                # Nobody builds from it: who has signed it makes no difference to what is said.
                copy = ["nix", "copy", "--derivation", "--no-check-sigs"]
                copied = await nix.run([*copy, "--from", cache, "--to", scratch.url, root])
                if copied.returncode == 0:
                    derivations |= await in_thread(read_closure, scratch, [root])
    return Graph(derivations)
