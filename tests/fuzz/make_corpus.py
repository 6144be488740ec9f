"""Make the corpus: small inputs by real Nix, GNU tar and the usual compressors.

``PYTHONPATH=tests .venv/bin/python -m fuzz.make_corpus`` writes it anew; what is random in it (a
key) is fixed, so little changes. It needs the programs that the tests need.
"""

from __future__ import annotations

import asyncio
import bz2
import gzip
import io
import json
import lzma
import shutil
import subprocess
import tempfile
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import brotli  # type: ignore[import-untyped]  # it ships no types
from rig.drawn_patches import DrawnPatches
from rig.made_paths import text
from rig.patch_scripts import old_script, script
from rig.scratch_nix import ScratchNix

from fuzz.target import CORPUS
from mirror.destinations.records.generation import MANIFEST, Generation
from mirror.destinations.records.receipt import RECEIPT, Receipt
from mirror.destinations.records.run_record import RUN_RECORD, RunRecord
from mirror.formats.compression import METHODS, ZstdCompressor
from mirror.formats.hashes import Hash
from mirror.formats.signing import SecretKey
from mirror.formats.store_path import StorePath
from mirror.nix.evaluation.flake_inputs import LockedInput
from mirror.nix.protocol import wire
from mirror.nix.protocol.connection import Connection
from mirror.planning.fetchers.fixed_outputs import HunkRange, PatchOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_EXPRESSION: Final = b"""
let
  make = name: more: derivation ({ inherit name; system = "x"; builder = "/bin/sh"; } // more);
  source = make "source.tar.gz" {
    outputHash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="; outputHashMode = "flat";
    urls = [ "mirror://gnu/source.tar.gz" "https://example.org/source.tar.gz" ];
    mirrorsFile = make "mirrors-list" { gnu = "https://ftp.gnu.org/"; };
    postFetch = "unpackFile \\"$renamed\\"";
  };
in [
  source
  (make "many" { outputs = [ "out" "dev" ]; args = [ "-c" "a\\tb\\n\\"\\\\" ]; inherit source; })
  (make "structured" { __structuredAttrs = true; list = [ 1 null "x" ]; })
  (make "checkout" { fetcher = "/x"; leaveDotGit = false; url = "https://example.org/x.git";
    outputHashAlgo = "sha1"; outputHashMode = "recursive";
    outputHash = "da39a3ee5e6b4b0d3255bfef95601890afd80709"; sparseCheckout = "a\\nb"; })
]
"""
_LIST: Final = b"""# hosts
pi      = .#pi      level=sources edits=hosts,./mine.nix
laptop  = /etc/nixos/configuration.nix  full=dnsmasq budget=20G
image   = './an image.nix'#toplevel args=./args.nix
tools   = nixpkgs#ripgrep edits=package:vim
/nix/store/00000000000000000000000000000000-frozen.drv
"""
_LOCK: Final = {
    "nodes": {
        "root": {"inputs": {"nixpkgs": "nixpkgs", "home": "home"}},
        "home": {"inputs": {"nixpkgs": ["nixpkgs"], "x": "x"}, "locked": {"rev": "b" * 40}},
        "nixpkgs": {"locked": {"lastModified": 1795519153, "narHash": "sha256-AA", "rev": "a"}},
        "x": {"locked": {"lastModified": 1}},
    },
    "root": "root",
    "version": 7,
}
_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n"
_BODY: Final = b"01234567890123456789"
_KEY: Final = SecretKey("fuzz-1", bytes(range(32)))
_DIGEST: Final = Hash.of(b"")
_TIME: Final = datetime(2026, 11, 24, tzinfo=UTC)


def main() -> None:
    """Write every target's corpus anew."""
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        nix = ScratchNix(scratch)
        tree = _tree(scratch / "tree")
        nar = nix.run("nix-store", "--dump", tree)
        tars = _tars(scratch, tree)
        found: dict[str, Mapping[str, bytes]] = {
            "derivation": _derivations(nix),
            "nar": {"tree.nar": nar, "file.nar": nix.run("nix-store", "--dump", tree / "file")},
            **_cache(nix, scratch, tree),
            **_compressed(nar),
            "tar": tars,
            "unpack": _packed(tars["ustar.tar"]),
            "zip": {"tree.zip": _zip()},
            "wire": {"said": asyncio.run(_said(nix, tree))},
            "hashes": {"lines": _hash_lines()},
            "keys": {"lines": f"{_KEY}\n{_KEY.public}\n".encode()},
            "list": {"hosts.txt": _LIST},
            "lock-file": {"pair": _lock("a") + b"\n" + _lock("b")},
            "documents": _documents(),
            **_patches(),
            **_web(),
        }
        named = wire.string(StorePath.parse(f"/nix/store/{'0' * 32}-x"))
        built = wire.strings([f"/nix/store/{'1' * 32}-x.drv!out"])
        found["recording"] = {"request": wire.integer(wire.Operation.ADD_TEMP_ROOT) + named + built}
    for target, files in found.items():
        shutil.rmtree(CORPUS / target, ignore_errors=True)
        (CORPUS / target).mkdir(parents=True)
        for name, data in files.items():
            (CORPUS / target / name).write_bytes(data)


def _patches() -> dict[str, Mapping[str, bytes]]:
    drawn = DrawnPatches(Random(1))
    plain = PatchOptions(git_headers=False)
    changed = replace(
        plain, relative="a b", strip=2, excludes=("x",), hunks=(HunkRange(1, None),), revert=True
    )
    prefixed = replace(plain, old_prefix="a/p/", new_prefix="b/p/", quotes_names=False)
    return {
        "patch": {str(number): drawn.patch() for number in range(6)},
        "fetchpatch": {
            "new": script(replace(changed, base64=True)).encode(),
            "old": old_script(prefixed).encode(),
        },
    }


def _tree(top: Path) -> Path:
    (top / "sub").mkdir(parents=True)
    (top / "file").write_bytes(b"12345678")
    (top / "sub/run").write_bytes(b"#!/bin/sh\n")
    (top / "sub/run").chmod(0o755)
    (top / "link").symlink_to("sub/run")
    return top


def _derivations(nix: ScratchNix) -> dict[str, bytes]:
    nix.instantiate(_EXPRESSION)
    return {file.name[33:]: file.read_bytes() for file in nix.store.glob("*.drv")}


def _cache(nix: ScratchNix, scratch: Path, tree: Path) -> dict[str, Mapping[str, bytes]]:
    path = nix.run("nix-store", "--add", tree).decode().strip()
    key = scratch / "key"
    key.write_text(str(_KEY))
    nix.run("nix", "store", "sign", "--key-file", key, path)
    nix.run("nix", "copy", "--to", f"file://{scratch}/cache?compression=xz", path)
    (narinfo,) = (scratch / "cache").glob("*.narinfo")
    about = (scratch / "cache/nix-cache-info").read_bytes()
    return {
        "narinfo": {"tree.narinfo": narinfo.read_bytes()},
        "cache-info": {"nix-cache-info": about + b"WantMassQuery: 1\nPriority: 40\n"},
    }


def _compressed(nar: bytes) -> dict[str, Mapping[str, bytes]]:
    zstd = ZstdCompressor()
    compressors: dict[str, Callable[[bytes], bytes]] = {
        "none": bytes,
        "xz": lambda data: lzma.compress(data, check=lzma.CHECK_CRC64),
        "zstd": lambda data: zstd.feed(data) + zstd.finish(),
        "bzip2": bz2.compress,
        "gzip": lambda data: gzip.compress(data, mtime=0),
        "br": brotli.compress,
    }
    made = {
        f"tree.{method}": bytes([number]) + compressors[method](nar)
        for number, method in enumerate(METHODS)
    }
    return {"compression": made, "verification": made}


def _tars(scratch: Path, tree: Path) -> dict[str, bytes]:
    (tree / ("n" * 120)).write_bytes(b"")
    (tree / "hole").write_bytes(b"")
    with (tree / "hole").open("r+b") as file:
        file.seek(1 << 16)
        file.write(b"end")
    (tree / "hard").hardlink_to(tree / "file")
    made = {}
    for format_ in ("gnu", "ustar", "pax"):
        archive = scratch / "archive.tar"
        command = ["tar", f"--format={format_}", "--owner=0", "--group=0", "--mtime=@1", "-b1"]
        sparse = [] if format_ == "ustar" else ["--sparse"]
        some = ["tree"] if format_ != "ustar" else ["tree/sub", "tree/file", "tree/link"]
        packed = ["--sort=name", "-cf", str(archive), *some]
        subprocess.run([*command, *sparse, *packed], cwd=scratch, check=True)
        made[f"{format_}.tar"] = archive.read_bytes()
    return made


def _packed(tar: bytes) -> dict[str, bytes]:
    zipped = gzip.compress(tar, mtime=0)
    return {
        "tree.tar.bz2": bz2.compress(tar),
        "tree.tar.gz": zipped,
        "tree.tar.gz.xz": lzma.compress(zipped),
        "tree.tar.lzma": lzma.compress(tar, format=lzma.FORMAT_ALONE),
        "zeros.tar.gz.gz": gzip.compress(gzip.compress(bytes(20_000_000), mtime=0), mtime=0),
    }


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, method, mode in (
            ("tree/file", zipfile.ZIP_STORED, 0o100644),
            ("tree/run", zipfile.ZIP_DEFLATED, 0o100755),
            ("tree/link", zipfile.ZIP_STORED, 0o120777),
            ("tree/ä", zipfile.ZIP_BZIP2, 0o100644),
            ("tree/lzma", zipfile.ZIP_LZMA, 0o100644),
        ):
            entry = zipfile.ZipInfo(name)
            entry.compress_type = method
            entry.create_system = 3
            entry.external_attr = mode << 16
            archive.writestr(entry, b"file" * 3)
    return buffer.getvalue()


async def _said(nix: ScratchNix, tree: Path) -> bytes:
    """What a real daemon says, in answer to what the target asks."""
    added = nix.run("nix-store", "--add", tree / "file").decode().strip()
    path = StorePath.parse(added)
    process = await asyncio.create_subprocess_exec(
        "nix-daemon", "--stdio", env=nix.environment, stdin=-1, stdout=-1
    )
    assert process.stdin is not None
    assert process.stdout is not None
    reader = _Recorded(process.stdout)
    connection = Connection(reader, process.stdin)
    await connection.greet()
    await connection.query_valid_paths([path])
    await connection.query_path_info(path)
    await connection.query_path_from_hash_part(path.hash_part)
    process.stdin.close()
    await process.wait()
    return reader.said


class _Recorded(asyncio.StreamReader):
    """Keeps what is read."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__()
        self._reader = reader
        self.said = b""

    async def read(self, n: int = -1) -> bytes:
        data = await self._reader.read(n)
        self.said += data
        return data


def _hash_lines() -> bytes:
    lines = [
        *(_DIGEST.sri, _DIGEST.nix32, f"sha256:{_DIGEST.base16}", _DIGEST.base32, _DIGEST.base16),
        *(f"fixed:r:{_DIGEST.nix32}", f"text:{_DIGEST.nix32}", Hash.of(b"", "md5").sri),
        f"{'0' * 32}-hello-2.12",
    ]
    return "\n".join(lines).encode()


def _lock(revision: str) -> bytes:
    lock: dict[str, Any] = json.loads(json.dumps(_LOCK))
    lock["nodes"]["nixpkgs"]["locked"]["rev"] = revision * 40
    return json.dumps(lock).encode()


def _documents() -> dict[str, bytes]:
    root = StorePath.parse(f"/nix/store/{'0' * 32}-x.drv")
    path = StorePath.parse(f"/nix/store/{'1' * 32}-source")
    generation = Generation(
        target="pi",
        number=3,
        installable=".#pi",
        level="rebuild",
        root=root,
        created=_TIME,
        paths=(path,),
        nar_bytes=1,
        missing=(path,),
        sources={path: _DIGEST},
        inputs=(LockedInput(name="nixpkgs", path=path, last_modified=1),),
    )
    receipt = Receipt(
        target="pi",
        number=3,
        root=root,
        nix_version="2.8.0",
        created=_TIME,
        lock_file=Path("/x/flake.lock"),
        lock_hash=None,
        problem=None,
        edits={"hosts": None, "wifi": "failed"},
    )
    record = RunRecord(
        target="pi",
        finished=_TIME,
        number=3,
        is_complete=False,
        problems=("it failed",),
        only_copies=(path,),
        duration_seconds=90,
        received_bytes=1_234_567,
    )
    return {
        "manifest": b"\0" + MANIFEST.render(generation),
        "receipt": b"\1" + RECEIPT.render(receipt),
        "run-record": b"\2" + RUN_RECORD.render(record),
    }


def _web() -> dict[str, Mapping[str, bytes]]:
    part, kept = "0" * 32, text("a").path.hash_part
    cut = _ANSWER + b'ETag: "a"\r\n\r\n01234'
    rest = (
        b"HTTP/1.1 206 Partial Content\r\nContent-Length: 15\r\nContent-Range: bytes 5-19/20\r\n"
        b'ETag: "a"\r\n\r\n' + _BODY[5:]
    )
    packed = gzip.compress(_BODY, mtime=0)
    encoded = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + packed
    dated = b"HTTP/1.1 429 Later\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
    moved = b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n"
    later = b"HTTP/1.1 503 Busy\r\nRetry-After: Tue, 24 Nov 2026 00:00:05 GMT\r\n\r\n"
    whole = _ANSWER + b"\r\n" + _BODY
    between = b"=====\n"
    return {
        "http": {
            "cut": between.join((cut, rest)),
            "encoded": encoded,
            "dated": between.join((dated, whole)),
            "later": between.join((later, whole)),
            "moved": between.join((moved, whole)),
            "whole": whole,
        },
        "requests": {
            "about": b"GET /nix-cache-info HTTP/1.1\r\nHost: x\r\n\r\n",
            "status": b"GET / HTTP/1.1\r\nHost: x:8080\r\nRange: bytes=1-5\r\n\r\n",
            "narinfo": f"HEAD /{kept}.narinfo HTTP/1.0\r\n\r\n".encode(),
        },
        "routes": {
            "narinfo": f"/{part}.narinfo".encode(),
            "nar": b'/nar/abc.nar.xz\nbytes=0-5\n"tag"\nW/"tag", *',
            "source": f"/sha256/{_DIGEST.base16}".encode(),
            "archive": f"/inputs/{part}.tar?x=1".encode(),
        },
    }


if __name__ == "__main__":
    main()
