"""Whose certificates count, by what a machine has and says."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirror.errors import ToolError
from mirror.trust import Certificates, certificates


@pytest.fixture
def named(tmp_path: Path) -> dict[str, str]:
    """What each variable names; all of it is there."""
    for name in ("NIX_SSL_CERT_FILE", "SSL_CERT_FILE"):
        (tmp_path / name).write_text("")
    (tmp_path / "SSL_CERT_DIR").mkdir()
    return {path.name: str(path) for path in tmp_path.iterdir()}


def test_who_is_named_first_counts(tmp_path: Path, named: dict[str, str]) -> None:
    setting = tmp_path / "setting"
    setting.write_text("")
    assert certificates(setting, named) == Certificates(setting)
    assert certificates(None, named) == Certificates(Path(named.pop("NIX_SSL_CERT_FILE")))
    file, directory = Path(named.pop("SSL_CERT_FILE")), Path(named["SSL_CERT_DIR"])
    assert certificates(None, {**named, "SSL_CERT_FILE": str(file)}) == (
        Certificates(file, directory)
    )
    assert certificates(None, named) == Certificates(directory=directory)


def test_where_nobody_is_named_the_systems_count() -> None:
    found = certificates(None, {})
    assert found.directory is None
    assert found.file is None or found.file.is_file()


def test_what_a_shell_of_nixpkgs_names_is_nothing(named: dict[str, str]) -> None:
    shell = {**named, "NIX_SSL_CERT_FILE": "/no-cert-file.crt"}
    assert certificates(None, shell).file == Path(named["SSL_CERT_FILE"])


@pytest.mark.parametrize("name", ["NIX_SSL_CERT_FILE", "SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_what_is_named_has_to_be_there(tmp_path: Path, named: dict[str, str], name: str) -> None:
    with pytest.raises(ToolError, match="certificates") as caught:
        certificates(None, {name: named[name] + "-gone"})
    assert name in str(caught.value.hint)
    assert str(tmp_path) in caught.value.message


def test_a_setting_of_nix_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        certificates(tmp_path / "gone", {})
    assert "ssl-cert-file" in str(caught.value.hint)
