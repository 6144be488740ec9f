"""Certificates that nobody names, or that are named in vain."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirror.errors import ToolError
from mirror.trust import certificates


@pytest.fixture
def named(tmp_path: Path) -> dict[str, str]:
    """What each variable names; all of it is there."""
    for name in ("NIX_SSL_CERT_FILE", "SSL_CERT_FILE"):
        (tmp_path / name).write_text("")
    (tmp_path / "SSL_CERT_DIR").mkdir()
    return {path.name: str(path) for path in tmp_path.iterdir()}


def test_where_nobody_is_named_the_systems_count() -> None:
    found = certificates(None, {})
    assert found.directory is None
    assert found.file is None or found.file.is_file()


def test_what_a_shell_of_nixpkgs_names_is_nothing(named: dict[str, str]) -> None:
    shell = {**named, "NIX_SSL_CERT_FILE": "/no-cert-file.crt"}
    assert certificates(None, shell).file == Path(named["SSL_CERT_FILE"])


def test_a_setting_of_nix_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        certificates(tmp_path / "gone", {})
    assert "ssl-cert-file" in str(caught.value.hint)
