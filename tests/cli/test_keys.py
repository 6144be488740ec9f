"""``prefetch key generate``, where it cannot; and a key that is no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mirror.cli.commands.key import execute_generate
from mirror.cli.signing_keys import read_key
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


async def test_a_key_that_others_may_read_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "my key"
    await execute_generate("host-1", key)
    for mode, is_public in ((0o600, False), (0o640, False), (0o644, True), (0o604, True)):
        key.chmod(mode)
        capsys.readouterr()
        await read_key(key)
        assert (f"`chmod 600 '{key}'` ends that" in capsys.readouterr().err) == is_public
