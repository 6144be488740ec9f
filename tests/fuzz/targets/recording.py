"""What is read along of what Nix says to its store: only store paths are ever noted."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fuzz.target import Target, plain
from mirror.errors import FormatError
from mirror.formats.store_path import is_store_path
from mirror.nix.evaluation.recording import Recording, _Conversation
from mirror.nix.protocol import wire
from mirror.nix.stores import StoreLocation

_STORE: Final = StoreLocation("local?root=/nowhere", Path("/nowhere"))


def _check(data: bytes) -> None:
    recorded = Recording(_STORE)
    conversation = _Conversation(recorded, None)
    for is_request in (True, False):
        conversation._note(data, is_request=is_request)
    touched = recorded.touched
    assert all(is_store_path(path) for path in touched.paths | touched.built)
    if not touched.paths | touched.built:
        raise FormatError("nothing is named")


TARGET: Final = Target(
    name="recording",
    checking=plain(_check),
    words=(
        *(wire.string(f"/nix/store/{'0' * 32}-{name}") for name in ("x", ".", "..", ".-", "x.drv")),
        *(b"!out", b"!*", b"/nix/store/", b"-.", b"-.."),
    ),
)
