"""``prefetch key generate``, where it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mirror.cli.commands.key import execute_generate
from mirror.errors import DestinationError, RequestError

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_name_that_no_key_can_have_is_a_wrong_request(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot be called"):
        await execute_generate("two words", tmp_path / "key")
    with pytest.raises(RequestError, match="comment"):
        await execute_generate("a#b", tmp_path / "key")
    assert not (tmp_path / "key").exists()


async def test_a_directory_that_is_not_there_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DestinationError, match="No such file"):
        await execute_generate("host-1", tmp_path / "absent" / "key")
