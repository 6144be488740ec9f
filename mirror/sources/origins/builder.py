"""The last resort: a fixed output's own builder, run by Nix into a store on this machine."""

from __future__ import annotations

import asyncio
import contextlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError, NotAvailableError
from mirror.nix.file_tree import tree
from mirror.nix.realise import realise
from mirror.planning.fetchers.fixed_outputs import Unfetchable
from mirror.sources.origins.made import Made, offered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from mirror.nix.command import Nix
    from mirror.nix.settings import NixSettings
    from mirror.nix.stores import StoreLocation
    from mirror.planning.fetchers.fixed_outputs import FixedOutput
    from mirror.sources.source import Nar, Wanted

_NO_OPTIONS: Final[Mapping[str, str]] = MappingProxyType({})


class Builder:
    """Realises derivations in ``store``, which has them, and offers what they made.

    ``settings`` say for which platforms this machine builds; ``options`` are settings of Nix for
    the builds. Without ``enabled`` it offers nothing, and says so.
    """

    def __init__(
        self,
        nix: Nix,
        store: StoreLocation,
        settings: NixSettings,
        *,
        options: Mapping[str, str] = _NO_OPTIONS,
        enabled: bool = True,
    ) -> None:
        self._nix = nix
        self._store = store
        self._settings = settings
        self._options = dict(options)
        self._enabled = enabled

    @property
    def name(self) -> str:
        """``builder``."""
        return "builder"

    @property
    def is_one_party(self) -> bool:
        """False: each derivation has its own builder."""
        return False

    def refusal(self, fixed: FixedOutput) -> str | None:
        """Why its builder is not run here, None if it can be."""
        if isinstance(fixed.origin, Unfetchable):
            return fixed.origin.reason
        if not self._enabled:
            return "its builder is not run (--no-builder)"
        problem = self._settings.unbuildable(fixed.system)
        return None if problem is None else f"its builder is {problem}"

    @contextlib.asynccontextmanager
    async def open(self, wanted: Wanted) -> AsyncIterator[Nar]:
        """Build a fixed output and offer its NAR.

        Raises:
            NotAvailableError: it cannot be built on this machine.
            SourceError: the build failed, with Nix's own words.

        """
        fixed = wanted.fixed_output
        if fixed is None:
            raise NotAvailableError(f"{wanted.path} is not a fixed output")
        refusal = self.refusal(fixed)
        if refusal is not None:
            raise NotAvailableError(refusal)
        await realise(self._nix, [fixed.derivation], store=self._store, options=self._options)
        real = self._store.real(fixed.path)
        try:
            made = await asyncio.to_thread(_made, real, fixed)
        except (OSError, FormatError) as error:
            raise NotAvailableError(
                f"{fixed.path} was built, but cannot be read: {error}"
            ) from error
        yield await offered(made, fixed, f"its builder ({fixed.derivation.name})")


def _made(real: Path, fixed: FixedOutput) -> Made:
    if fixed.mode == "flat":
        return Made.of_file(real, executable=False)
    return Made.of_node(tree(real))
