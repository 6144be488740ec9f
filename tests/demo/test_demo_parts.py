"""What the demo's upstream is made with: a static busybox, a web server, reproducible archives."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from mirror.demo.busybox import find_busybox, is_static
from mirror.demo.trees import Archive, pack, source_tree
from mirror.demo.web import serve_directory
from mirror.errors import ToolError
from mirror.nix.stores import remove_store

if TYPE_CHECKING:
    from mirror.nix.command import Nix


def with_path(nix: Nix, directory: Path) -> Nix:
    """``nix`` with a search path that is ``directory`` alone, in which it is."""
    directory.mkdir(exist_ok=True)
    (directory / "nix").symlink_to(nix.program)
    return replace(nix, environment={**nix.environment, "PATH": str(directory)})


async def test_the_static_busybox_of_the_machine_is_found(nix_stable: Nix) -> None:
    assert is_static(await find_busybox(nix_stable))


async def test_without_busybox_the_error_says_what_to_install(
    nix_stable: Nix, tmp_path: Path
) -> None:
    nix = with_path(nix_stable, tmp_path / "bin")
    settings = f"{nix.environment['NIX_CONFIG']}\nsandbox-paths ="
    nix = replace(nix, environment={**nix.environment, "NIX_CONFIG": settings})
    with pytest.raises(ToolError, match="there is none on PATH") as caught:
        await find_busybox(nix)
    assert "busybox-static" in str(caught.value.hint)


async def test_a_dynamic_program_is_refused_by_name(nix_stable: Nix, tmp_path: Path) -> None:
    nix = with_path(nix_stable, tmp_path / "bin")
    dynamic = shutil.which("git")
    assert dynamic is not None
    (tmp_path / "bin/busybox").symlink_to(dynamic)
    settings = f"{nix.environment['NIX_CONFIG']}\nsandbox-paths ="
    nix = replace(nix, environment={**nix.environment, "NIX_CONFIG": settings})
    with pytest.raises(ToolError, match="bin/busybox is not a static program"):
        await find_busybox(nix)


def test_what_is_no_program_is_not_static(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    assert not is_static(script)
    assert not is_static(tmp_path / "absent")
    assert not is_static(Path(sys.executable).resolve().parent)


@pytest.mark.parametrize("extension", ["tar", "tar.gz", "tar.xz", "tar.bz2", "zip"])
def test_an_archive_is_the_same_each_time(extension: str) -> None:
    archive = Archive(version="1", extension=extension)
    assert pack(source_tree("one", archive), extension) == pack(
        source_tree("one", archive), extension
    )


async def test_the_server_gives_files_and_keeps_what_it_was_asked(tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "served/file").write_bytes(b"content")
    (tmp_path / "secret").write_bytes(b"not for you")
    async with serve_directory(tmp_path / "served") as server, httpx.AsyncClient() as client:
        answer = await client.get(f"{server.url}/file")
        assert (answer.status_code, answer.content) == (200, b"content")
        head = await client.head(f"{server.url}/file")
        assert (head.headers["content-length"], head.content) == ("7", b"")
        for missing in ("absent", "%2e%2e/secret", ""):
            assert (await client.get(f"{server.url}/{missing}")).status_code == 404
        assert server.requests[:2] == ["GET /file", "HEAD /file"]


async def test_a_stopped_server_answers_nobody(tmp_path: Path) -> None:
    async with httpx.AsyncClient() as client:
        async with serve_directory(tmp_path) as server:
            await client.get(f"{server.url}/absent")
        with pytest.raises(httpx.TransportError):
            await client.get(f"{server.url}/absent")


def test_a_read_only_store_can_be_removed(tmp_path: Path) -> None:
    directory = tmp_path / "root/nix/store/one"
    directory.mkdir(parents=True)
    (directory / "file").write_text("")
    directory.chmod(0o555)
    directory.parent.chmod(0o555)
    remove_store(tmp_path / "root")
    remove_store(tmp_path / "root")
    assert not (tmp_path / "root").exists()
