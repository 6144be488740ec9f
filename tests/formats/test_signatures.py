from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.scratch_nix import NEEDS_NIX, ScratchNix

from mirror.errors import FormatError
from mirror.formats.hashes import Hash
from mirror.formats.narinfo import parse_narinfo, print_narinfo
from mirror.formats.path_info import PathInfo
from mirror.formats.signing import PublicKey, SecretKey, TrustedKeys, fingerprint
from mirror.formats.store_path import StorePath

if TYPE_CHECKING:
    from pathlib import Path

PATHS = tuple(StorePath.from_base_name(f"{digit * 32}-path") for digit in "01")
INFO = PathInfo(path=PATHS[0], nar_hash=Hash.of(b"x"), nar_size=96, references=PATHS)


def signed(info: PathInfo, *signatures: str) -> PathInfo:
    return dataclasses.replace(info, signatures=signatures)


@NEEDS_NIX
def test_keys_and_signatures_are_exchanged_with_nix(tmp_path: Path) -> None:
    nix = ScratchNix(tmp_path)
    secret_file, public_file = tmp_path / "secret", tmp_path / "public"
    nix.run("nix-store", "--generate-binary-cache-key", "nix-key-1", secret_file, public_file)
    secret = SecretKey.parse(secret_file.read_text())
    assert str(secret) == secret_file.read_text().strip()
    assert str(secret.public) == public_file.read_text().strip()
    # Nix signs, with references, and its signature verifies here; ours equals it.
    text = tmp_path / "text.nix"
    text.write_text('builtins.toFile "b" "see ${builtins.toFile "a" "A"}"')
    path = StorePath.parse(nix.run("nix", "eval", "--raw", "-f", text).decode())
    nix.run("nix", "store", "sign", "-r", "--key-file", secret_file, path)
    nix.run("nix", "copy", "--to", f"file://{tmp_path}/cache", path)
    narinfo = parse_narinfo((tmp_path / f"cache/{path.hash_part}.narinfo").read_bytes())
    assert len(narinfo.info.references) == 1
    assert TrustedKeys([secret.public]).verify(narinfo.info) == secret.public
    assert narinfo.info.signatures == (secret.sign(fingerprint(narinfo.info)),)
    # We sign, and Nix verifies.
    ours = SecretKey.generate("ours-1")
    info = signed(narinfo.info, ours.sign(fingerprint(narinfo.info)))
    info = dataclasses.replace(info, content_address=None)
    written = print_narinfo(dataclasses.replace(narinfo, info=info))
    (tmp_path / f"cache/{path.hash_part}.narinfo").write_bytes(written)
    verify = ["nix", "store", "verify", "--store", f"file://{tmp_path}/cache", str(path)]
    nix.run(*verify, "--sigs-needed", "1", "--option", "trusted-public-keys", str(ours.public))
    with pytest.raises(AssertionError, match="untrusted"):
        nix.run(*verify, "--sigs-needed", "1", "--option", "trusted-public-keys", "")


def test_the_first_trusted_key_that_verifies_is_named() -> None:
    one, two = SecretKey.generate("one"), SecretKey.generate("two")
    signatures = [key.sign(fingerprint(INFO)) for key in (one, two)]
    both = TrustedKeys([two.public, one.public])
    assert both.verify(signed(INFO, *signatures)) == one.public
    assert TrustedKeys([two.public]).verify(signed(INFO, *signatures)) == two.public
    assert TrustedKeys().verify(signed(INFO, *signatures)) is None
    assert both.verify(INFO) is None


def test_a_name_may_have_several_keys() -> None:
    old, new = SecretKey.generate("same"), SecretKey.generate("same")
    info = signed(INFO, new.sign(fingerprint(INFO)))
    assert TrustedKeys([old.public, new.public]).verify(info) == new.public
    assert TrustedKeys([old.public]).verify(info) is None


def test_a_signature_is_of_everything_in_the_fingerprint() -> None:
    key = SecretKey.generate("key")
    info = signed(INFO, key.sign(fingerprint(INFO)))
    trusted = TrustedKeys([key.public])
    assert trusted.verify(info) == key.public
    for changed in (
        dataclasses.replace(info, path=PATHS[1]),
        dataclasses.replace(info, nar_hash=Hash.of(b"y")),
        dataclasses.replace(info, nar_size=97),
        dataclasses.replace(info, references=PATHS[:1]),
    ):
        assert trusted.verify(changed) is None


@given(st.lists(st.text(max_size=20) | st.just("key:AAAA") | st.just("key:ä")))
def test_malformed_signatures_are_passed_over(malformed: list[str]) -> None:
    key = SecretKey.generate("key")
    info = signed(INFO, *malformed, key.sign(fingerprint(INFO)))
    assert TrustedKeys([key.public]).verify(info) == key.public


def test_keys_are_written_as_they_are_read() -> None:
    key = SecretKey.generate("cache.example.org-1")
    assert SecretKey.parse(f"{key}\n") == key
    assert PublicKey.parse(str(key.public)) == key.public


@pytest.mark.parametrize("text", ["", "name", "name:", "name:!!", ":AAAA", "a b:AAAA", "name:AAAA"])
def test_malformed_keys_are_format_errors(text: str) -> None:
    with pytest.raises(FormatError, match="not a public key"):
        PublicKey.parse(text)
    with pytest.raises(FormatError, match="not a secret key"):
        SecretKey.parse(text)


def test_a_secret_is_not_shown_by_accident() -> None:
    key = SecretKey.generate("key")
    assert str(key)[10:40] not in repr(key)
    with pytest.raises(FormatError) as caught:
        SecretKey.parse(str(key)[:-8] + "AAAAAAA=")
    assert str(key)[10:40] not in caught.value.message
    for name in ("", "a:b", "a b"):
        with pytest.raises(FormatError, match="cannot be called"):
            SecretKey.generate(name)
