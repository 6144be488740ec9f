"""Nix's settings and stores, as real Nix tells them."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rig.nixes import newest_root

from mirror.errors import RequestError, ToolError
from mirror.nix.settings import read_settings
from mirror.nix.stores import StoreLocation, locate

if TYPE_CHECKING:
    from mirror.nix.command import Nix

NOBODY = 65534


def configured(nix: Nix, *lines: str, **variables: str) -> Nix:
    settings = "\n".join((nix.environment.get("NIX_CONFIG", ""), *lines))
    return dataclasses.replace(
        nix, environment={**nix.environment, "NIX_CONFIG": settings, **variables}
    )


async def test_settings_are_what_nix_says(any_nix: Nix, tmp_path: Path) -> None:
    settings = await read_settings(
        configured(
            any_nix,
            "substituters = https://b.example https://a.example?priority=3",
            "trusted-public-keys = b-1:AAAA a-1:BBBB",
            "require-sigs = false",
            f"netrc-file = {tmp_path}/netrc",
            "hashed-mirrors = http://mirror.example",
            "extra-platforms = i686-linux riscv64-linux",
            "system = x86_64-linux",
        )
    )
    assert settings.substituters == ("https://b.example", "https://a.example?priority=3")
    assert sorted(settings.trusted_public_keys) == ["a-1:BBBB", "b-1:AAAA"]
    assert settings.require_sigs is False
    assert settings.netrc_file == tmp_path / "netrc"
    assert settings.hashed_mirrors == ("http://mirror.example",)
    assert set(settings.extra_platforms) == {"i686-linux", "riscv64-linux"}
    assert settings.system == "x86_64-linux"
    assert settings.always_allow_substitutes is False


async def test_always_allow_substitutes_is_read_where_it_exists(nix_newest: Nix) -> None:
    settings = await read_settings(configured(nix_newest, "always-allow-substitutes = true"))
    assert settings.always_allow_substitutes is True


async def test_settings_that_nix_refuses_are_said_in_its_words(any_nix: Nix) -> None:
    with pytest.raises(ToolError, match="max-jobs"):
        await read_settings(configured(any_nix, "max-jobs = many"))


@pytest.mark.parametrize(
    ("url", "expected", "root"),
    [
        ("auto", "auto", "/"),
        ("daemon", "daemon", "/"),
        ("local?root=/a/b", "local?root=/a/b", "/a/b"),
        ("local://?root=/a%20b", "local?root=/a%20b", "/a b"),
        ("local?root=/a+b", "local?root=/a%2Bb", "/a+b"),
        ("/a/b", "local?root=/a/b", "/a/b"),
        ("unix:///a/socket", "unix:///a/socket", "/"),
    ],
)
def test_store_urls(url: str, expected: str, root: str) -> None:
    location = StoreLocation.parse(url)
    assert location.url == expected
    assert location.root == Path(root)


@pytest.mark.parametrize("url", ["", "ssh-ng://a", "https://a", "local?real=/a", "local?state=/a"])
def test_stores_whose_files_are_elsewhere_are_refused(url: str) -> None:
    with pytest.raises(RequestError):
        StoreLocation.parse(url)


async def test_the_store_is_the_one_that_nix_would_use(any_nix: Nix, tmp_path: Path) -> None:
    nix = configured(any_nix, NIX_REMOTE=f"local?root={tmp_path}/a b")
    location = await locate(nix, None)
    assert location.root == tmp_path / "a b"
    assert location.state_directory.is_dir()
    given = await locate(nix, f"local?root={tmp_path}/c")
    assert given.root == tmp_path / "c"


async def test_a_store_that_cannot_be_opened_is_said(any_nix: Nix, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot open the store unix://") as caught:
        await locate(any_nix, f"unix://{tmp_path}/no-socket")
    assert "--store" in (caught.value.hint or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming an ordinary user takes root")
async def test_the_store_in_the_home_of_an_ordinary_user_is_found(
    nix_newest: Nix, tmp_path: Path
) -> None:
    """Without a daemon and without /nix, Nix says only in a warning that it uses another."""
    enter = Path(nix_newest.program).with_name("enter-root")
    script = tmp_path / "nix"
    # A /nix that something else left there is covered, for this process alone.
    hide = "test ! -d /nix || mount -t tmpfs none /nix"
    script.write_text(
        f"#!/bin/sh\nexec unshare --mount /bin/sh '{enter}' '{newest_root()}' sh -c '{hide};"
        f' exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups nix "$@"\' sh "$@"\n'
    )
    script.chmod(0o755)
    with tempfile.TemporaryDirectory() as home:
        os.chown(home, NOBODY, NOBODY)
        variables = {"HOME": home, "XDG_DATA_HOME": f"{home}/data", "XDG_CACHE_HOME": home}
        ordinary = dataclasses.replace(configured(nix_newest, **variables), program=str(script))
        location = await locate(ordinary, None)
    assert location == StoreLocation.parse(f"local?root={home}/data/nix/root")
