"""Where paths are put: a binary cache directory, a Nix store.

Each is a :class:`Destination`; one conformance suite runs against all of them.
"""

from mirror.destinations.cache.directory import CacheDirectory
from mirror.destinations.destination import Destination, Ready, Staging
from mirror.destinations.free_space import Room
from mirror.destinations.records.generation import Generation
from mirror.destinations.records.receipt import Receipt
from mirror.destinations.records.run_record import RunRecord
from mirror.destinations.store.nix_store import NixStore

__all__ = [
    "CacheDirectory",
    "Destination",
    "Generation",
    "NixStore",
    "Ready",
    "Receipt",
    "Room",
    "RunRecord",
    "Staging",
]
