from __future__ import annotations

import copy
import dataclasses
import hashlib
import itertools
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.scratch_nix import NEEDS_NIX, ScratchNix

from mirror.errors import IntegrityError
from mirror.formats import nar
from mirror.formats.compression import ZstdCompressor
from mirror.formats.content_address import ContentAddress
from mirror.formats.hashes import Hash
from mirror.formats.nar import Directory, Regular, Symlink
from mirror.formats.narinfo import parse_narinfo
from mirror.formats.path_info import PathInfo
from mirror.formats.store_path import StorePath
from mirror.formats.verifier import Claim, NarVerifier, VerifiedPath

if TYPE_CHECKING:
    from pathlib import Path

PATH = StorePath.from_base_name(f"{'0' * 32}-thing")
OTHER = StorePath.from_base_name(f"{'1' * 32}-other")
TREE = Directory({b"f": Regular.of(b"contents" * 100), b"l": Symlink(b"f")})


def dump(node: nar.Node) -> bytes:
    return b"".join(nar.serialize(node))


def zstd(data: bytes) -> bytes:
    compressor = ZstdCompressor()
    return compressor.feed(data) + compressor.finish()


def claim(data: bytes, **changes: Any) -> Claim:
    """A true claim about the NAR ``data``, but for what is changed of its fields or its info's."""
    info = PathInfo(path=PATH, nar_hash=Hash.of(data), nar_size=len(data))
    of_info = {field.name for field in dataclasses.fields(PathInfo)}
    info = dataclasses.replace(info, **{k: v for k, v in changes.items() if k in of_info})
    return Claim(info=info, **{k: v for k, v in changes.items() if k not in of_info})


def verify(claimed: Claim, *chunks: bytes) -> tuple[VerifiedPath, bytes]:
    verifier = NarVerifier(claimed)
    data = b"".join(piece for chunk in chunks for piece in verifier.feed(chunk))
    return verifier.finish(), data


def addressed(data: bytes, address: ContentAddress, *references: StorePath) -> Claim:
    path = address.path("thing", references)
    return claim(data, path=path, content_address=str(address), references=references)


def test_true_claims_are_verified_and_the_files_facts_kept() -> None:
    data = dump(TREE)
    verified, read = verify(claim(data), data)
    assert (verified.info, read) == (claim(data).info, data)
    assert (verified.file_hash, verified.file_size) == (Hash.of(data), len(data))
    file = zstd(data)
    facts = {"compression": "zstd", "file_hash": Hash.of(file), "file_size": len(file)}
    verified, read = verify(claim(data, **facts), file)
    assert read == data
    assert (verified.file_hash, verified.file_size) == (Hash.of(file), len(file))


def test_the_files_hash_may_be_of_another_algorithm() -> None:
    data = dump(TREE)
    for algorithm in ("sha1", "sha512"):
        verified, _ = verify(claim(data, file_hash=Hash.of(data, algorithm)), data)
        assert verified.file_hash == Hash.of(data)
        with pytest.raises(IntegrityError, match="file hash mismatch: expected"):
            verify(claim(data, file_hash=Hash.of(b"", algorithm)), data)


@given(st.lists(st.integers(0, 60)), st.sampled_from(["none", "zstd"]))
def test_how_the_bytes_are_cut_makes_no_difference(sizes: list[int], compression: str) -> None:
    data = dump(TREE)
    file = data if compression == "none" else zstd(data)
    chunks, start = [], 0
    for size in sizes:
        chunks.append(file[start : start + size])
        start += size
    assert verify(claim(data, compression=compression), *chunks, file[start:])[1] == data


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"nar_hash": Hash.of(b"")}, "NAR hash mismatch: expected sha256-47DEQ.*, got sha256-"),
        ({"nar_size": 10}, "bytes were received"),
        ({"nar_size": 10_000}, "NAR size mismatch: expected 10000, got 1"),
        ({"file_hash": Hash.of(b"")}, "file hash mismatch: expected"),
        ({"file_size": 10}, "more than 10 bytes were received"),
        ({"file_size": 10_000}, "file size mismatch: expected 10000, got 1"),
        ({"compression": "xz"}, "malformed xz"),
        ({"compression": "lz4"}, "unknown compression"),
        ({"nar_hash": Hash.of(b"", "sha1")}, "not a sha256"),
        ({"content_address": "fixed:md4:x"}, "not a content address"),
    ],
)
def test_false_claims_are_refused(changes: dict[str, Any], problem: str) -> None:
    data = dump(TREE)
    with pytest.raises(IntegrityError, match=f"^{PATH}: .*{problem}"):
        verify(claim(data, **changes), data)


def test_damaged_bytes_are_refused_wherever_the_damage_is() -> None:
    data = dump(TREE)
    for compression, file in (("none", data), ("zstd", zstd(data))):
        for position in range(0, len(file), 5):
            damaged = bytearray(file)
            damaged[position] ^= 0x40
            with pytest.raises(IntegrityError):
                verify(
                    claim(data, compression=compression, file_hash=Hash.of(file)), bytes(damaged)
                )
        for cut in (0, 1, len(file) // 2, len(file) - 1):
            with pytest.raises(IntegrityError):
                verify(claim(data, compression=compression), file[:cut])


def test_a_hash_of_something_that_is_no_nar_does_not_help() -> None:
    with pytest.raises(IntegrityError, match="expected"):
        verify(claim(b"no archive" * 10), b"no archive" * 10)


def test_reading_stops_as_soon_as_more_comes_than_was_announced() -> None:
    data = dump(Regular.of(bytes(1 << 20)))
    bomb = zstd(data + bytes(256 << 20))
    verifier = NarVerifier(claim(data, compression="zstd"))
    sizes: list[int] = []
    with pytest.raises(IntegrityError):
        sizes.extend(len(piece) for piece in verifier.feed(bomb))
    assert sum(sizes) <= len(data)
    # Bytes that decompress to nothing are counted, too.
    empty_frames = zstd(b"") * 1000
    verifier = NarVerifier(claim(data, compression="zstd"))
    with pytest.raises(IntegrityError, match="bytes were received"):
        deque(itertools.chain.from_iterable(map(verifier.feed, [empty_frames] * 1000)), 0)


def test_a_verifier_that_has_refused_goes_on_refusing() -> None:
    data = dump(TREE)
    verifier = NarVerifier(claim(data, compression="zstd"))
    file = zstd(data)
    list(verifier.feed(file))
    with pytest.raises(IntegrityError, match="what follows"):
        list(verifier.feed(b"trailing garbage"))
    with pytest.raises(IntegrityError, match="what follows"):
        verifier.finish()


def test_nobody_else_makes_a_verified_path() -> None:
    data = dump(TREE)
    verified, _ = verify(claim(data), data)
    facts: dict[str, Any] = {"info": verified.info, "file_hash": Hash.of(b""), "file_size": 0}
    with pytest.raises(TypeError):
        VerifiedPath(**facts)
    with pytest.raises(TypeError):
        VerifiedPath(**facts, verifier=object())
    changes: dict[str, Any] = {"file_size": 1}
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(verified, **changes)
    assert copy.copy(verified) == verified


CONTENTS = b"the contents"
PLAIN = Regular.of(CONTENTS)


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
def test_content_addresses_are_checked_against_the_content(algorithm: str) -> None:
    flat = ContentAddress("flat", Hash.of(CONTENTS, algorithm))
    tree = ContentAddress("nar", Hash.of(dump(TREE), algorithm))
    verify(addressed(dump(PLAIN), flat), dump(PLAIN))
    verify(addressed(dump(TREE), tree), dump(TREE))
    changed = dump(Regular.of(CONTENTS + b"!"))
    for address in (flat, tree):
        with pytest.raises(IntegrityError, match="hash"):
            verify(addressed(changed, address), changed)


def test_a_text_may_have_references_and_they_make_its_path() -> None:
    text = ContentAddress("text", Hash.of(CONTENTS))
    verify(addressed(dump(PLAIN), text, OTHER), dump(PLAIN))
    truth = addressed(dump(PLAIN), text, OTHER)
    lie = dataclasses.replace(truth, info=dataclasses.replace(truth.info, references=()))
    with pytest.raises(IntegrityError, match="make another path: expected"):
        verify(lie, dump(PLAIN))


@pytest.mark.parametrize(
    "node", [Regular.of(CONTENTS, executable=True), Directory({b"f": PLAIN}), Symlink(b"x")]
)
def test_a_flat_address_is_that_of_a_plain_file_only(node: nar.Node) -> None:
    for kind in ("fixed", "text"):
        address = ContentAddress.parse(f"{kind}:{Hash.of(CONTENTS).nix32}")
        with pytest.raises(IntegrityError, match="not executable"):
            verify(addressed(dump(node), address), dump(node))


def test_references_that_an_address_cannot_have_are_refused() -> None:
    address = ContentAddress("flat", Hash.of(CONTENTS))
    info = dataclasses.replace(
        claim(dump(PLAIN)).info, content_address=str(address), references=(OTHER,)
    )
    with pytest.raises(IntegrityError, match="cannot have"):
        NarVerifier(Claim(info=info))


BUILD = b"""
derivation {
  name = "self"; system = builtins.currentSystem; builder = "/bin/sh"; PATH = "/bin";
  args = [ "-c" "echo $out $out and $out > $out" ];
}
"""


@NEEDS_NIX
def test_content_that_holds_its_own_path_is_verified_as_nix_makes_it(tmp_path: Path) -> None:
    nix = ScratchNix(tmp_path)
    expression = tmp_path / "self.nix"
    expression.write_bytes(BUILD)
    built = nix.run("nix-build", "--no-out-link", expression).decode().strip()
    nix.run("nix", "store", "make-content-addressed", built)
    (path,) = (
        StorePath.from_base_name(entry.name)
        for entry in nix.store.glob("*-self")
        if entry.name not in built
    )
    nix.run("nix", "copy", "--to", f"file://{tmp_path}/cache?compression=none", path)
    narinfo = parse_narinfo((tmp_path / f"cache/{path.hash_part}.narinfo").read_bytes())
    data = (tmp_path / "cache" / narinfo.url).read_bytes()
    assert path in narinfo.info.references
    claimed = Claim(info=narinfo.info, file_hash=narinfo.file_hash, file_size=narinfo.file_size)
    for size in (1, 33, len(data)):
        verify(claimed, *(data[n : n + size] for n in range(0, len(data), size)))
    # Signed by no one, and with a hash that fits: the address alone tells.
    changed = data.replace(b" and ", b" not ")
    info = dataclasses.replace(narinfo.info, nar_hash=Hash.of(changed))
    with pytest.raises(IntegrityError, match="content hash mismatch"):
        verify(Claim(info=info), changed)


@NEEDS_NIX
@pytest.mark.parametrize("compression", ["none", "xz", "zstd", "bzip2", "gzip", "br"])
def test_what_nix_puts_into_a_cache_is_verified(tmp_path: Path, compression: str) -> None:
    nix = ScratchNix(tmp_path)
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/file").write_bytes(hashlib.sha256(b"").digest() * 10_000)
    file = tmp_path / "file"
    file.write_text("contents")
    paths = [
        StorePath.parse(line)
        for line in (
            nix.run("nix-store", "--add", tree)
            + nix.run("nix-store", "--add-fixed", "sha1", file)
            + nix.run("nix-store", "--add-fixed", "--recursive", "sha512", tree)
        )
        .decode()
        .split()
    ]
    nix.run("nix", "copy", "--to", f"file://{tmp_path}/cache?compression={compression}", *paths)
    for path in paths:
        narinfo = parse_narinfo((tmp_path / f"cache/{path.hash_part}.narinfo").read_bytes())
        assert narinfo.compression == compression
        assert narinfo.info.content_address is not None
        verified, data = verify(
            Claim(
                info=narinfo.info,
                compression=compression,
                file_hash=narinfo.file_hash,
                file_size=narinfo.file_size,
            ),
            (tmp_path / "cache" / narinfo.url).read_bytes(),
        )
        assert data == nix.run("nix-store", "--dump", nix.store / path.base_name)
        assert (verified.file_hash, verified.file_size) == (narinfo.file_hash, narinfo.file_size)
