"""The keys whose signatures count for a narinfo that was altered. Blocking."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from mirror.destinations.cache.signatures import read_public_keys
from mirror.destinations.records.vouched import recorded_keys
from mirror.errors import DestinationError, FormatError
from mirror.formats.signing import PublicKey, TrustedKeys

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mirror.destinations.cache.manifests import Manifests


class AcceptedKeys:
    """Those of the cache ``directory``, those that its manifests record, and those of who asks."""

    def __init__(self, directory: Path, manifests: Manifests) -> None:
        self._directory = directory
        self._manifests = manifests
        self._trusted: tuple[PublicKey, ...] = ()

    def trust(self, texts: Iterable[str]) -> None:
        """Count the signatures of these keys, too, as far as they are keys."""
        for text in texts:
            with contextlib.suppress(FormatError):  # Nix itself says what is wrong with it
                self._trusted = (*self._trusted, PublicKey.parse(text))

    def find(self) -> TrustedKeys:
        """The keys, as they are now; what cannot be read has none."""
        own: list[PublicKey] = []
        with contextlib.suppress(DestinationError):  # `verify` says what is wrong with it
            own = read_public_keys(self._directory)
        recorded = recorded_keys(self._manifests.read(lambda _: None))
        return TrustedKeys([*own, *recorded, *self._trusted])
