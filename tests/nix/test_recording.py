"""What is read along of what Nix says to its store."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirror.formats.store_path import StorePath
from mirror.nix.evaluation.recording import Recording, _Conversation
from mirror.nix.protocol import wire
from mirror.nix.stores import StoreLocation

PATH = StorePath.parse(f"/nix/store/{'0' * 32}-x")


@pytest.mark.parametrize("name", [".", "..", ".-", "..-"])
def test_names_that_no_path_can_have_are_not_noted(name: str) -> None:
    recorded = Recording(StoreLocation("local?root=/nowhere", Path("/nowhere")))
    said = wire.integer(1) + wire.strings([PATH, f"/nix/store/{'0' * 32}-{name}"])
    _Conversation(recorded, None)._note(said, is_request=True)
    assert recorded.touched.paths == {PATH}
