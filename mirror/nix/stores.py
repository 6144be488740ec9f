"""Which Nix store is meant, and where its files are on this machine.

Nix's own words for a store are a URL (``auto``, ``daemon``, ``local?root=/directory``). ``auto``
depends on the user: without a daemon and without ``/nix``, a Nix from 2.10 on gives an ordinary
user a store in the home directory, and says so only in a warning. :func:`locate` finds out.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.errors import RequestError, ToolError
from mirror.nix.settings import read_settings
from mirror.system.locks import take_lock
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Completed, Nix

STORE_URL_EXAMPLES: Final = "auto, daemon, local, local?root=/some/directory, unix:///some/socket"
_CHROOT_STORE: Final = re.compile(r"so Nix will use ['\"](.+)['\"] as a chroot store")


@dataclass(frozen=True, slots=True)
class StoreLocation:
    """A Nix store URL, and the directory that its ``/nix`` is below (``/`` for the machine's own).

    ``url`` is ``auto`` for whatever the installed Nix uses by itself.
    """

    url: str
    root: Path

    @classmethod
    def parse(cls, url: str) -> StoreLocation:
        """Read a store URL.

        Raises:
            RequestError: it is not one whose files this machine can see.

        """
        scheme, _, query = url.partition("?")
        # The newest Nix writes so what older ones call "local".
        scheme = "local" if scheme == "local://" else scheme
        parameters = _parameters(query)
        if scheme.startswith("/"):
            scheme, parameters = "local", {"root": scheme}
        if scheme not in {"auto", "daemon", "local"} and not scheme.startswith("unix://"):
            raise RequestError(
                f"not a Nix store that can be used here: {url}", hint=f"one of {STORE_URL_EXAMPLES}"
            )
        if moved := {"real", "state", "store"} & parameters.keys():
            raise RequestError(
                f"a Nix store with {min(moved)}= cannot be used here: {url}",
                hint="use one with the store /nix/store below a root: local?root=/some/directory",
            )
        root = Path("/")
        if "root" in parameters:
            root = Path(os.path.expanduser(parameters["root"])).absolute()  # noqa: PTH111 - it never raises
            parameters["root"] = str(root)
        words = [f"{name}={urllib.parse.quote(value)}" for name, value in parameters.items()]
        return cls(scheme + ("?" if words else "") + "&".join(words), root)

    def real(self, path: StorePath) -> Path:
        """The file or directory in which a store path's content is."""
        return self.root / path.lstrip("/")

    @property
    def state_directory(self) -> Path:
        """``/nix/var/nix``, with its ``gcroots``."""
        return self.root / "nix/var/nix"


def _parameters(query: str) -> dict[str, str]:
    """Split a URL's query as Nix does, to which ``+`` is no space."""
    pairs = (word.partition("=") for word in query.split("&") if word)
    return {name: urllib.parse.unquote(value) for name, _, value in pairs}


async def locate(nix: Nix, url: str | None) -> StoreLocation:
    """Find the store that ``url`` means (None: the one that this Nix uses by itself).

    Opens the store, so that one which cannot be used is found out now.

    Raises:
        RequestError: it is not one whose files this machine can see.
        ToolError: Nix cannot open it.

    """
    location = StoreLocation.parse((await read_settings(nix)).store if url is None else url)
    opened = await open_store(nix, location)
    chroot = _CHROOT_STORE.search(opened.stderr)
    return location if chroot is None else StoreLocation.parse(chroot[1])


async def open_store(nix: Nix, store: StoreLocation) -> Completed:
    """Have Nix open a store and so make it, if it can be made.

    A new store has to be opened once before several processes use it at once: those that find its
    database half made give up.

    Raises:
        ToolError: Nix cannot open it.

    """
    await in_thread(_forget_half_made, store)
    # "ping" is what 2.8 calls it, and later versions understand it, too.
    completed = await nix.run(["nix", "store", "ping", "--store", store.url])
    if completed.returncode != 0:
        raise ToolError(
            f"Nix cannot open the store {store.url}: "
            f"{completed.last_words.removeprefix('error: ')}",
            hint="is its daemon running, and may you write there? Without a daemon, use a "
            "store of your own (--store local?root=/some/directory) and a destination (--to DEST)",
        )
    return completed


def _forget_half_made(store: StoreLocation) -> None:
    """Let Nix start again with a store if it was killed while it made the store.

    It leaves a file without the number that is to be in it, and calls the store corrupt for good.
    """
    schema = store.state_directory / "db/schema"
    # The machine's own store is its owner's; what cannot be done here, Nix complains of.
    with contextlib.suppress(OSError):
        if store.root == Path("/") or schema.stat().st_size > 0:
            return
        with (schema.parent / "big-lock").open("rb") as lock:
            # Whoever has the store open holds this; whoever is making it, exclusively.
            if take_lock(lock.fileno()) and schema.stat().st_size == 0:
                schema.unlink()


def remove_store(directory: Path) -> None:
    """Remove a directory with a scratch store in it: what a store holds is read-only."""
    for parent, _, _ in os.walk(directory):
        Path(parent).chmod(0o755)
    if directory.exists():
        shutil.rmtree(directory)
