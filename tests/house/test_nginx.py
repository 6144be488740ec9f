"""The configuration of nginx in docs/: nginx accepts it, and Nix gets a synced cache through it."""

from __future__ import annotations

import contextlib
import subprocess
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from rig import nginx
from rig.nixes import PROJECT
from rig.running import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rig.running import ScratchStore
    from rig.shell import Shell

    from mirror.nix.command import Nix

CONFIGURATION = PROJECT / "docs/nginx.conf"


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
def served(directory: Path, root: Path) -> Iterator[str]:
    """Serve a directory by nginx; its URL, at which it can be asked at once."""
    with nginx.running(directory, lambda port: nginx.of_http(adapted(root, port))) as port:
        yield f"http://127.0.0.1:{port}"


def answer(url: str) -> tuple[int, str | None]:
    """The status and the content type."""
    try:
        with urllib.request.urlopen(url, timeout=200) as response:
            return response.status, response.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None


def test_nginx_accepts_the_configuration(tmp_path: Path) -> None:
    right = adapted(tmp_path, 9)
    for name, text, status in (("right", right, 0), ("wrong", right.replace("}", ""), 1)):
        arguments = nginx.configure(tmp_path / name, nginx.of_http(text))
        completed = subprocess.run(
            [nginx.program(), "-t", *arguments], capture_output=True, text=True, check=False
        )
        assert completed.returncode == status, completed.stderr


def test_what_was_pruned_is_there_for_clients_in_the_middle_of_a_closure(
    tmp_path: Path,
) -> None:
    cache = tmp_path / "cache"
    retired, gone = (cache / ".prefetch/retired" / f"{digit * 32}.narinfo" for digit in "01")
    retired.parent.mkdir(parents=True)
    retired.write_text("retired")
    with served(tmp_path / "nginx", cache) as url:
        assert answer(f"{url}/{retired.name}") == (200, "text/x-nix-narinfo")
        assert answer(f"{url}/{gone.name}")[0] == 404
        assert answer(f"{url}/.prefetch/retired/{retired.name}")[0] == 404


def test_nix_copies_a_synced_cache_through_nginx(
    shell: Shell, any_nix: Nix, elsewhere: ScratchStore, tmp_path: Path
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
    with served(tmp_path / "nginx", cache) as url:
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
