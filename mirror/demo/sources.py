"""What the demo's origin holds: the sources of the distribution, made here from nothing.

Each has a kind: a plain file, an archive, a git repository, a NAR. They are the same bytes on every
machine, except those that contain the machine's busybox. :func:`write_sources` gives the pins: for
each source its place and its hashes, which the distribution reads from ``pins.json``.
"""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Final

from mirror.demo.busybox import APPLETS
from mirror.demo.repositories import write_repository
from mirror.demo.trees import Archive, compress, noise, pack, source_tree, write_tree
from mirror.errors import ToolError
from mirror.formats.hashes import Hash

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mirror.nix.command import Nix

Pin = dict[str, str]

ARCHIVES: Final[Mapping[str, Archive]] = {
    "gettext": Archive(version="0.21", extension="tar.bz2"),
    "wifi-format": Archive(version="0.4"),
    "dnsmasq-check": Archive(version="2.90"),
    "libbase": Archive(version="1.2", extension="tar.xz", size=64),
    "libio": Archive(version="2.0"),
    "libnet": Archive(version="0.9"),
    "libresolve": Archive(version="4.4", tree=True),
    "hello": Archive(version="2.12"),
    "calendar": Archive(version="1.7", extension="tar.xz", stripped=False, tree=True),
    "atlas": Archive(version="5.5", extension="zip", size=300, tree=True),
    "ledger": Archive(version="3.3"),
    "openssh": Archive(version="9.6", size=100),
    "dnsmasq": Archive(version="2.90", size=40),
    "wpa": Archive(version="2.10"),
    "backup": Archive(version="1.1"),
    "supervisor": Archive(version="255", size=100),
    "linux": Archive(version="6.6", extension="tar.xz", size=1500, folder="kernel/"),
    "terminal-data": Archive(version="6.4"),
    "printer-driver": Archive(version="0.3"),
    "debugger": Archive(version="13.2", size=200),
    "zones": Archive(version="2026a", extension="tar.xz", tree=True),
    "timetable": Archive(version="7", extension="tar.bz2", tree=True),
    "fonts": Archive(version="4", extension="zip", stripped=False, tree=True, size=100),
}
"""By source name; the name and the version make the file's name."""

_CURL: Final = b"""#!@shell@
# curl URL FILE: the one thing that the fetchers ask of it.
exec @wget@ -q -O "$2" "$1"
"""


async def write_sources(nix: Nix, busybox: Path, origin: Path, scratch: Path) -> dict[str, Pin]:
    """Fill the directory ``origin``, and give the pins; ``scratch`` is for work in between.

    Raises:
        ToolError: git is missing, or one of the tools fails.

    """
    files = origin / "files"
    files.mkdir(parents=True)
    pins: dict[str, Pin] = {}
    for name, archive in ARCHIVES.items():
        tree = source_tree(name, archive)
        data = pack(tree, archive.extension)
        pins[name] = _write(
            files, f"{archive.folder}{name}-{archive.version}.{archive.extension}", data
        )
        if archive.tree:
            top = f"{name}-{archive.version}/" if archive.stripped else ""
            unpacked = {path.removeprefix(top): content for path, content in tree.items()}
            pins[name]["tree"] = await nar_hash(nix, write_tree(scratch / name, unpacked))

    vendored = source_tree("ledger-vendored", Archive(version="3.3"))
    stem = "ledger-vendored-3.3/"
    pins["ledger-vendored"] = _write(
        files,
        "ledger-vendored-3.3.tar.gz",
        pack({**vendored, f"{stem}examples/one": b"1\n"}, "tar.gz"),
    )
    changed = {path.removeprefix(stem): content for path, content in vendored.items()}
    changed["CHANGED"] = b"without examples\n"
    pins["ledger-vendored"]["changed"] = await nar_hash(
        nix, write_tree(scratch / "vendored", changed)
    )

    for name, content in {
        "compiler-runtime": b"# what every program starts with\n",
        "certificates": b"-----BEGIN CERTIFICATE-----\nZGVtbw==\n-----END CERTIFICATE-----\n",
        "wallpaper": noise("wallpaper", 700),
    }.items():
        suffix = {"certificates": ".pem", "wallpaper": ".img"}.get(name, ".sh")
        pins[name] = _write(files, name + suffix, content)
    for name, content in {
        "curl": _CURL,
        "banner": b'#!/bin/sh\necho "a small distribution"\n',
        "probe": b"#!/bin/sh\nexit 0\n",
    }.items():
        pins[name] = _write(files, f"{name}.sh", content)
        program = write_tree(scratch / f"{name}.d", {"x": content}, executable=True) / "x"
        pins[name]["tree"] = await nar_hash(nix, program)
    for name in ("curl", "probe"):  # Nix's own fetcher takes an executable file's hash of the tree
        pins[name]["hash"] = pins[name]["tree"]

    firmware = noise("firmware", 50)
    digest = Hash.of(firmware).base16
    (origin / "hashed/sha256").mkdir(parents=True)
    (origin / "hashed/sha256" / digest).write_bytes(firmware)
    pins["firmware"] = {"path": "/dead/firmware.bin", "base16": digest}

    microcode = write_tree(scratch / "microcode", {"cpu/one.bin": noise("microcode", 30)})
    pins["microcode"] = await _write_nar(nix, files, "microcode", microcode)
    tools = scratch / "bootstrap-tools"
    (tools / "bin").mkdir(parents=True)
    shutil.copy(busybox, tools / "bin/busybox")
    (tools / "bin/busybox").chmod(0o555)
    for applet in APPLETS:
        (tools / "bin" / applet).symlink_to("busybox")
    pins["bootstrap-tools"] = await _write_nar(nix, files, "bootstrap-tools", tools)

    for name, tree in {
        "editor": {
            path.partition("/")[2]: content
            for path, content in source_tree("editor", Archive(version="9.0")).items()
        },
        "blocklist": {"hosts": b"0.0.0.0 tracker.example\n", "README": b"names to answer with 0\n"},
    }.items():
        work = write_tree(scratch / f"{name}.git", tree)
        tree_hash = await nar_hash(nix, work)
        revision = await write_repository(work, origin / "git", name)
        pins[name] = {"path": f"/git/{name}.git", "rev": revision, "hash": tree_hash}
    return pins


def _write(files: Path, place: str, data: bytes) -> Pin:
    """Write a file of the origin; its pin has every form of hash that the distribution uses."""
    (files / place).parent.mkdir(parents=True, exist_ok=True)
    (files / place).write_bytes(data)
    sha256 = Hash.of(data)
    return {
        "path": f"/files/{place}",
        "hash": sha256.sri,
        "base16": sha256.base16,
        "base32": sha256.base32,
        **{name: Hash.of(data, name).base16 for name in ("sha512", "sha1", "md5")},
    }


async def nar_hash(nix: Nix, path: Path) -> str:
    """The hash of a file's or tree's NAR, by Nix itself."""
    printed = await _stdout(nix, "nix-hash", "--type", "sha256", str(path))
    return Hash.parse(printed.decode().strip(), "sha256").sri


async def _write_nar(nix: Nix, files: Path, name: str, tree: Path) -> Pin:
    nar = await _stdout(nix, "nix-store", "--dump", str(tree))
    pin = _write(files, f"{name}.nar.xz", await asyncio.to_thread(compress, nar, "xz"))
    return {"path": pin["path"], "hash": Hash.of(nar).sri}


async def _stdout(nix: Nix, *command: str) -> bytes:
    completed = await nix.run(command)
    if completed.returncode != 0:
        raise ToolError(f"{' '.join(command)} failed: {completed.last_words}")
    return completed.stdout
