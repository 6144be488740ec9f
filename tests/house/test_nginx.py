"""The configuration of nginx in docs/: nginx accepts it, and Nix gets a synced cache through it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rig.nixes import PROJECT, missing
from rig.running import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig.running import ScratchStore
    from rig.shell import Shell

    from mirror.nix.command import Nix

CONFIGURATION = PROJECT / "docs/nginx.conf"
# What Debian's own nginx.conf has around it, and files of the test's own.
AROUND = """
daemon off;
pid pid;
events {}
http {
    types { text/html html; application/json json; application/gzip gz; }
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include prefetch.conf;
}
"""


@pytest.fixture(scope="session")
def nginx() -> str:
    """The program: an installed one, or the one that tools/install-nix unpacks."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    program = shutil.which("nginx") or shutil.which(cache / "prefetch/nginx/usr/sbin/nginx")
    if program is None:
        missing("there is no nginx: tools/install-nix tests unpacks it")
    return program


def configure(directory: Path, text: str) -> list[str]:
    """Write a configuration to a directory of the test's own; nginx's arguments for it."""
    directory.mkdir()
    (directory / "prefetch.conf").write_text(text)
    # Below pytest's directories only their owner gets, who may be root.
    user = "user root;" if os.geteuid() == 0 else ""
    (directory / "nginx.conf").write_text(user + AROUND)
    return ["-e", "stderr", "-p", str(directory), "-c", "nginx.conf"]


def adapted(root: Path, port: int) -> str:
    """The configuration for another directory, on a port of the loopback."""
    text = CONFIGURATION.read_text()
    for given, own in (
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("listen [::]:80;", ""),
        ("root /var/lib/prefetch/cache;", f"root {root};"),
    ):
        assert given in text
        text = text.replace(given, own)
    return text


@contextlib.contextmanager
def served(nginx: str, directory: Path, root: Path) -> Iterator[str]:
    """Serve a directory by nginx; its URL, at which it can be asked at once."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        # nginx takes over a socket that it is told of so, which spares waiting until it listens.
        process = subprocess.Popen(
            [nginx, *configure(directory, adapted(root, port))],
            env={**os.environ, "NGINX": f"{listening.fileno()};"},
            pass_fds=[listening.fileno()],
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def answer(url: str) -> tuple[int, str | None]:
    """The status and the content type."""
    try:
        with urllib.request.urlopen(url, timeout=200) as response:
            return response.status, response.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None


def test_nginx_accepts_the_configuration(nginx: str, tmp_path: Path) -> None:
    right = adapted(tmp_path, 9)
    for name, text, status in (("right", right, 0), ("wrong", right.replace("}", ""), 1)):
        arguments = configure(tmp_path / name, text)
        completed = subprocess.run(
            [nginx, "-t", *arguments], capture_output=True, text=True, check=False
        )
        assert completed.returncode == status, completed.stderr


def test_what_was_pruned_is_there_for_clients_in_the_middle_of_a_closure(
    nginx: str, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    retired, gone = (cache / ".prefetch/retired" / f"{digit * 32}.narinfo" for digit in "01")
    retired.parent.mkdir(parents=True)
    retired.write_text("retired")
    with served(nginx, tmp_path / "nginx", cache) as url:
        assert answer(f"{url}/{retired.name}") == (200, "text/x-nix-narinfo")
        assert answer(f"{url}/{gone.name}")[0] == 404
        assert answer(f"{url}/.prefetch/retired/{retired.name}")[0] == 404


def test_nix_copies_a_synced_cache_through_nginx(
    nginx: str, shell: Shell, any_nix: Nix, elsewhere: ScratchStore, tmp_path: Path
) -> None:
    targets = shell.write_list("hello = DEMO#hello  level=runtime")
    # As in the unit, where what the service makes is the service's own.
    private = ["sh", "-c", 'umask 077 && exec "$@"', "sh"]
    shell.run([*private, *shell.arguments("sync", targets, "--to", "cache")])
    cache = shell.directory / "cache"
    for path in (cache, *cache.rglob("*")):
        if ".prefetch" not in path.parts:
            assert path.stat().st_mode & (0o005 if path.is_dir() else 0o004), path

    narinfo = next(cache.glob("*.narinfo"))
    nar = next((cache / "nar").iterdir())
    paths = [
        line.removeprefix("StorePath: ")
        for each in cache.glob("*.narinfo")
        for line in each.read_text().splitlines()
        if line.startswith("StorePath: ")
    ]
    with served(nginx, tmp_path / "nginx", cache) as url:
        assert answer(f"{url}/nix-cache-info") == (200, "text/x-nix-cache-info")
        assert answer(f"{url}/{narinfo.name}") == (200, "text/x-nix-narinfo")
        assert answer(f"{url}/nar/{nar.name}") == (200, "application/x-nix-nar")
        for hidden in (".prefetch/lock", "nar/", "nar/../.prefetch/lock", "", "generations/"):
            assert answer(f"{url}/{hidden}")[0] in {403, 404}, hidden
        run(
            any_nix,
            *("nix", "copy", "--from", url, "--to", elsewhere.url, "--no-check-sigs", *paths),
        )
    assert len(paths) > 1
    run(any_nix, "nix", "store", "verify", "--no-trust", *paths, store=elsewhere)
