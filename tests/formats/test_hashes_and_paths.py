from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.scratch_nix import NEEDS_NIX, ScratchNix

from mirror.errors import FormatError
from mirror.formats import base32
from mirror.formats.content_address import ContentAddress, fixed_output_path, text_path
from mirror.formats.hashes import SIZES, Hash
from mirror.formats.store_path import StorePath

if TYPE_CHECKING:
    from pathlib import Path


@NEEDS_NIX
@pytest.mark.parametrize("algorithm", sorted(SIZES))
def test_hashes_are_written_as_nix_writes_them(tmp_path: Path, algorithm: str) -> None:
    nix = ScratchNix(tmp_path)
    file = tmp_path / "file"
    file.write_bytes(b"some bytes")
    ours = Hash.of(b"some bytes", algorithm)

    def nixs(*options: str) -> str:
        command = ["nix-hash", "--flat", "--type", algorithm, *options, str(file)]
        return nix.run(*command).decode().strip()

    assert ours.base16 == nixs()
    assert ours.base32 == nixs("--base32")
    assert ours.sri == nix.run("nix", "hash", "file", "--type", algorithm, file).decode().strip()


@given(st.sampled_from(sorted(SIZES)), st.binary(max_size=10))
def test_every_form_is_read_back(algorithm: str, data: bytes) -> None:
    digest = Hash.of(data, algorithm)
    forms = (digest.nix32, digest.sri, f"{algorithm}:{digest.base16}")
    assert {Hash.parse(text) for text in forms} == {digest}
    assert Hash.parse(digest.base32, algorithm) == digest


@given(st.binary(max_size=70))
def test_base32_is_read_back(data: bytes) -> None:
    assert base32.decode(base32.encode(data)) == data


@given(st.text(max_size=80))
def test_other_text_is_a_format_error(text: str) -> None:
    for read in (Hash.parse, ContentAddress.parse, StorePath.parse):
        with pytest.raises(FormatError):
            read(text)
    for prefix in ("sha256:", "sha256-", "md5:"):
        with pytest.raises(FormatError):
            Hash.parse(prefix + text)


@NEEDS_NIX
@pytest.mark.parametrize("algorithm", sorted(SIZES))
def test_fixed_output_paths_are_nixs(tmp_path: Path, algorithm: str) -> None:
    nix = ScratchNix(tmp_path)
    file = tmp_path / "file+name"
    file.write_bytes(b"some bytes")
    nar = nix.run("nix-store", "--dump", file)
    for recursive, data in ((False, b"some bytes"), (True, nar)):
        mode = ["--recursive"] if recursive else []
        expected = nix.run("nix-store", "--add-fixed", *mode, algorithm, file).decode().strip()
        digest = Hash.of(data, algorithm)
        assert fixed_output_path("file+name", hash=digest, recursive=recursive) == expected
        address = ContentAddress("nar" if recursive else "flat", digest)
        assert address.path("file+name") == expected
        assert ContentAddress.parse(str(address)) == address


@NEEDS_NIX
def test_text_paths_are_nixs(tmp_path: Path) -> None:
    nix = ScratchNix(tmp_path)
    expression = tmp_path / "text.nix"
    expression.write_text(
        'let a = builtins.toFile "a" "A"; b = builtins.toFile "b" "B"; '
        'in "${a} ${b} ${builtins.toFile "c" "${b} ${a}"}"'
    )
    a, b, c = nix.run("nix", "eval", "--raw", "-f", expression).decode().split()
    references = [StorePath.parse(a), StorePath.parse(b)]
    assert text_path("a", hash=Hash.of(b"A")) == a
    assert text_path("c", hash=Hash.of(f"{b} {a}".encode()), references=references) == c


@pytest.mark.parametrize("name", ["", ".", "..", ".-x", "a/b", "ä", "x" * 212, "a\n"])
def test_names_that_no_path_has_are_refused(name: str) -> None:
    with pytest.raises(FormatError, match="not a store path"):
        fixed_output_path(name, hash=Hash.of(b""), recursive=True)


def test_only_what_can_have_references_has_them() -> None:
    path = StorePath.from_base_name(f"{'0' * 32}-x")
    for recursive, algorithm in ((False, "sha256"), (True, "sha1")):
        digest = Hash.of(b"", algorithm)
        with pytest.raises(FormatError, match="cannot have"):
            fixed_output_path("x", hash=digest, recursive=recursive, references=[path])
    text = ContentAddress("text", Hash.of(b""))
    with pytest.raises(FormatError, match="refers to itself"):
        text.path("x", refers_to_itself=True)
    with pytest.raises(FormatError, match="sha256"):
        ContentAddress("text", Hash.of(b"", "sha1"))
