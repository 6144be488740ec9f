"""``sync --refresh`` with channels, where ``/nix`` is a directory of the test's own."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest
from rig.servers import Reply, Server
from rig.shell import COMMAND

from mirror.nix.stores import remove_store

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from rig.shell import Shell

MADE = """
derivation {{
  name = "made-{version}"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" ":" ];
}}
"""
OWN_USERS = () if os.geteuid() == 0 else ("--user", "--map-root-user")


@pytest.fixture
def own_nix(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "nix"
    directory.mkdir()
    yield directory
    remove_store(directory)


def channel(version: str, text: str) -> Reply:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as archive:
        member = tarfile.TarInfo(f"it-{version}/default.nix")
        member.size = len(text.encode())
        archive.addfile(member, io.BytesIO(text.encode()))
    return Reply(body=data.getvalue(), ranges=False)


async def test_channels_are_updated_and_put_back(shell: Shell, own_nix: Path) -> None:
    home = shell.directory / "home"
    home.mkdir()

    async def run(*command: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(
            shell.run,
            [
                *("unshare", *OWN_USERS, "--mount"),
                *("sh", "-c", 'mount --bind "$0" /nix && exec "$@"', str(own_nix)),
                *command,
            ],
            expect=expect,
            HOME=str(home),
            XDG_CACHE_HOME=str(home / "cache"),
            NIX_PATH=f"it={home}/.nix-defexpr/channels/it",
        )

    (shell.directory / "made.nix").write_text("{ it = import <it>; }")
    shell.write_list("it = ./made.nix#it")
    sync = [*COMMAND, "sync", "hosts.txt", "--to", "cache", "--store", "local", "--no-archives"]
    async with Server() as server:
        url = server.on("/it", Reply(body=b"a page for people"))
        server.on("/it/nixexprs.tar.xz", channel("1", MADE.format(version="1")))
        await run("nix-channel", "--add", url, "it")
        await run("nix-channel", "--update")
        first = await run(*sync)
        assert "it: generation 1, " in first.stdout
        server.on("/it/nixexprs.tar.xz", channel("2", MADE.format(version="2")))
        assert "nothing new" in (await run(*sync)).stdout
        second = await run(*sync, "--refresh", "--quiet")
        assert "it: generation 2, " in second.stdout
        assert "refreshed <it>: /nix/store/" in second.stderr
        server.on("/it/nixexprs.tar.xz", channel("3", 'throw "no more"'))
        third = await run(*sync, "--refresh", expect=1)
        assert "no more" in third.stderr
        assert "it is not refreshed: it could not be made ready" in third.stderr
        assert "the channels were put back" in third.stderr
        fourth = await run(*sync)
        assert "nothing new" in fourth.stdout
        assert "it (2)" in fourth.stdout
