"""``sync --refresh`` that is killed, and the run after it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from asyncio.subprocess import DEVNULL
from typing import TYPE_CHECKING

from rig.servers import Reply, Server

if TYPE_CHECKING:
    from rig.shell import Shell

HOST = """
{{
  inputs.it = {{ url = "path:{input}"; flake = false; }};
  outputs = {{ it, ... }}: {{ packages.x86_64-linux.default = import it; }};
}}
"""
MADE = """
derivation {{
  name = "made-{version}"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" ":" ];
  more = {more};
}}
"""
SOURCE = """
derivation {{
  name = "source"; system = "x86_64-linux"; builder = "/bin/sh"; mirrorsFile = "/none";
  outputHashAlgo = "sha256"; outputHashMode = "flat"; outputHash = "{hash}";
  urls = [ "{url}" ];
}}
"""


async def test_the_lock_file_of_a_killed_run_is_put_back_by_the_next(shell: Shell) -> None:
    host, made = shell.directory / "host", shell.directory / "input"
    for directory in (host, made):
        directory.mkdir()
    (host / "flake.nix").write_text(HOST.format(input=made))
    (made / "default.nix").write_text(MADE.format(version=1, more="null"))
    shell.write_list(f"it = path:{host}#default")
    lock = host / "flake.lock"
    sync = shell.arguments("sync", "hosts.txt", "--to", "cache")
    await asyncio.to_thread(shell.run, [*sync, "--refresh"])
    before = lock.read_bytes()
    async with Server() as server:
        url = server.on("/source", Reply(hang_first=True))
        source = SOURCE.format(hash="1" * 64, url=url)
        (made / "default.nix").write_text(MADE.format(version=2, more=source))
        process = await asyncio.create_subprocess_exec(
            *sync,
            "--refresh",
            cwd=shell.directory,
            env=shell.environment(),
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=DEVNULL,
        )
        try:
            await asyncio.to_thread(_wait_until_asked, server, "/source")
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    assert lock.read_bytes() != before
    again = await asyncio.to_thread(shell.run, sync)
    assert f"an earlier refresh of {lock} was interrupted: it was put back" in again.stderr
    assert "nothing new" in again.stdout
    assert lock.read_bytes() == before
    third = await asyncio.to_thread(shell.run, sync)
    assert "interrupted" not in third.stderr


def _wait_until_asked(server: Server, path: str) -> None:
    deadline = time.monotonic() + 200
    while not server.asked(path):
        assert time.monotonic() < deadline
        time.sleep(0.05)
