"""Where paths are put: a binary cache directory, a Nix store.

Each is a :class:`Destination`; one conformance suite runs against all of them.
"""

from mirror.destinations.cache_directory import CacheDirectory
from mirror.destinations.generation import Generation
from mirror.destinations.interface import Destination, Staging
from mirror.destinations.nix_store import NixStore
from mirror.destinations.receipt import Receipt
from mirror.destinations.room import Room
from mirror.destinations.run_record import RunRecord

__all__ = [
    "CacheDirectory",
    "Destination",
    "Generation",
    "NixStore",
    "Receipt",
    "Room",
    "RunRecord",
    "Staging",
]
