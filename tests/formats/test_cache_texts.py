from __future__ import annotations

import base64
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.scratch_nix import NEEDS_NIX, ScratchNix

from mirror.errors import FormatError
from mirror.formats.cache_info import CacheInfo, parse_cache_info, print_cache_info
from mirror.formats.compression import METHODS
from mirror.formats.hashes import Hash
from mirror.formats.narinfo import (
    NarInfo,
    parse_narinfo,
    print_narinfo,
    signatures_as_written,
)
from mirror.formats.path_info import PathInfo
from mirror.formats.signing import TrustedKeys
from mirror.formats.store_path import StorePath

if TYPE_CHECKING:
    from pathlib import Path

NAME = f"{'0' * 32}-thing-1.0"
PATH = f"/nix/store/{NAME}"
CONTENT = f"text:{Hash.of(b'x').nix32}"
BASE = f"StorePath: {PATH}\nURL: nar/x.nar\nNarHash: {Hash.of(b'x').nix32}\nNarSize: 96\n"


def parse(text: str) -> NarInfo:
    return parse_narinfo(text.encode())


@NEEDS_NIX
def test_what_nix_writes_is_printed_again_byte_for_byte(tmp_path: Path) -> None:
    nix = ScratchNix(tmp_path)
    nix.run("nix-store", "--generate-binary-cache-key", "k-1", tmp_path / "s", tmp_path / "p")
    nix.instantiate(b"""derivation {
      name = "x"; system = "x"; builder = "y"; a = builtins.toFile "a" "A"; b = ./expression.nix; }
    """)
    cache = tmp_path / "cache"
    paths = [f"/nix/store/{entry.name}" for entry in nix.store.iterdir() if entry.name[0] != "."]
    url = f"file://{cache}?secret-key={tmp_path}/s"
    (top,) = (path for path in paths if path.endswith(".drv"))
    nix.run("nix", "copy", "--derivation", "--to", url, top)
    files = list(cache.glob("*.narinfo"))
    assert len(files) == len(paths) == 3
    for file in files:
        narinfo = parse_narinfo(file.read_bytes())
        assert print_narinfo(narinfo) == file.read_bytes()
        assert narinfo.info.path.hash_part == file.stem
    assert parse_cache_info((cache / "nix-cache-info").read_bytes()) == CacheInfo()


def test_what_may_be_absent_is_as_nix_takes_it() -> None:
    narinfo = parse(BASE)
    assert narinfo.compression == "bzip2"
    assert (narinfo.file_hash, narinfo.file_size) == (None, None)
    assert narinfo.info.references == ()
    assert parse(BASE + "Deriver: unknown-deriver\n").info.deriver is None
    assert parse(BASE + "References: \nCA: \nCompression: \nSystem: x\n") == narinfo


def test_a_field_that_comes_again_is_as_nix_takes_it() -> None:
    again = parse(
        f"URL: nar/z\nNarSize: 7\nCA: \nReferences:  \n{BASE}URL: nar/y\nReferences: {NAME}\n"
    )
    assert again == replace(
        parse(BASE), url="nar/y", info=replace(parse(BASE).info, references=(StorePath(PATH),))
    )


def test_a_name_reaches_to_the_next_colon() -> None:
    assert parse(BASE + "no colon\nURL: nar/y.nar\n") == parse(BASE)
    # What follows the colon stands for a space, be it the end of the line.
    assert parse(BASE + "Compression:\nxz\n").compression == "xz"


@pytest.mark.parametrize(
    ("compression", "size", "told"),
    [
        ("none", None, 96),
        ("none", 5, 96),
        ("xz", None, None),
        ("xz", 0, None),
        ("xz", 95, 95),
        ("xz", 96, None),
        ("xz", 97, 97),
        ("xz", 10**18, None),
    ],
)
def test_the_size_of_a_file_is_believed_where_it_can_be(
    compression: str, size: int | None, told: int | None
) -> None:
    said = "" if size is None else f"FileSize: {size}\n"
    assert parse(f"{BASE}Compression: {compression}\n{said}").download_size == told


def test_hashes_are_read_in_each_of_nixs_forms() -> None:
    digest = Hash.of(b"x")
    for text in (digest.nix32, digest.sri, f"sha256:{digest.base16}"):
        assert parse(BASE.replace(digest.nix32, text)).info.nar_hash == digest


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "NarHash is missing"),
        (BASE[:-1], "does not end"),
        (BASE + "\n", "without `name: value`"),
        (BASE + "no colon\n", "without `name: value`"),
        (BASE + f"References: {NAME}\nReferences: \n", "References twice"),
        (BASE + f"CA: {CONTENT}\nCA: {CONTENT}\n", "CA twice"),
        (BASE + "CA: something\n", "not a content address"),
        (BASE + "References:\nDeriver: x\n", "not a store path"),
        (BASE + "Deriver: \n", "not a store path"),
        (BASE + "FileSize: \n", "FileSize is not a size"),
        (BASE + "FileSize: x\nFileSize: 1\n", "FileSize is not a size"),
        (BASE + "FileHash: \n", "a hash without its algorithm"),
        (BASE.replace("\n", "\r\n"), "not a sha256 hash"),
        (BASE + "Compression: lz4\n", "'lz4' is unknown; known are none, xz"),
        (BASE + "References: thing\n", "not a store path"),
        (BASE + f"References: {PATH}\n", "not a store path"),
        (BASE + "Deriver: x.drv\n", "not a store path"),
        (BASE + "FileSize: -1\n", "FileSize is not a size"),
        (BASE + "FileSize: 1_0\n", "FileSize is not a size"),
        (BASE + f"FileSize: {1 << 64}\n", "FileSize is not a size"),
        (BASE + "FileHash: sha256:1\n", "not a sha256 hash"),
        (BASE.replace("96", "0"), "NarSize is 0"),
        (BASE.replace("96", "9" * 5000), "NarSize is not a size"),
        (BASE.replace(Hash.of(b"x").nix32, Hash.of(b"x", "sha1").nix32), "NarHash is a sha1"),
        (BASE.replace("/nix/store/", "/gnu/store/"), "not a store path"),
        (BASE.replace("URL: nar/x.nar\n", ""), "URL is missing"),
        (BASE.replace("URL: nar/x.nar\n", "URL: \n"), "URL is empty"),
    ],
)
def test_what_is_no_narinfo_is_refused_with_the_reason(text: str, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        parse(text)


lines = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20)
store_paths = st.builds(
    lambda hash_part, name: StorePath.from_base_name(f"{hash_part}-{name}"),
    st.text("0123456789abcdf", min_size=32, max_size=32),
    st.from_regex(r"[a-z][A-Za-z0-9+._?=-]{0,10}", fullmatch=True),
)
sha256 = st.binary(min_size=32, max_size=32).map(lambda digest: Hash("sha256", digest))
sizes = st.integers(1, (1 << 64) - 1)
signatures = st.builds(
    lambda name, data: f"{name}:{base64.b64encode(data).decode()}",
    st.text(
        st.characters(codec="utf-8", exclude_characters=":", categories=["L", "N"]), min_size=1
    ),
    st.binary(min_size=64, max_size=64),
)
narinfos = st.builds(
    NarInfo,
    info=st.builds(
        PathInfo,
        path=store_paths,
        nar_hash=sha256,
        nar_size=sizes,
        references=st.sets(store_paths, max_size=3).map(lambda paths: tuple(sorted(paths))),
        deriver=st.none() | store_paths,
        signatures=st.lists(signatures, max_size=3).map(tuple),
        content_address=st.none() | st.builds("fixed:r:{.nix32}".format, sha256),
    ),
    url=lines.filter(bool),
    compression=st.sampled_from(METHODS),
    file_hash=st.none() | sha256,
    file_size=st.none() | sizes,
)


@given(narinfos)
def test_parsing_inverts_printing(narinfo: NarInfo) -> None:
    assert parse_narinfo(print_narinfo(narinfo)) == narinfo


@given(st.binary(max_size=100), st.integers(0, len(BASE)), st.integers(0, 5))
def test_any_bytes_are_a_narinfo_or_a_format_error(data: bytes, start: int, length: int) -> None:
    base = BASE.encode()
    for text in (data, base + data, base[:start] + data[:3] + base[start + length :]):
        try:
            parse_narinfo(text)
        except FormatError as error:
            assert error.message.startswith("not a narinfo: ")  # noqa: PT017 - either is right


@pytest.mark.parametrize(
    "signature",
    [
        *("", "a", "a:", ":", f":{'A' * 86}==", f"a:{'A' * 85}=", "a:not base64"),
        # Each has one form.
        *(f"a b:{'A' * 86}==", f"a:{'A' * 86}===", f"a:{'A' * 85}B==", f" a:{'A' * 86}=="),
    ],
)
def test_signatures_that_are_none_are_left_out(signature: str) -> None:
    """The newest Nix refuses the whole narinfo for one of them."""
    good = f"a-1:{'A' * 86}=="
    narinfo = parse(f"{BASE}Sig: {signature}\nSig: {good}\n")
    assert narinfo.info.signatures == (good,)
    assert print_narinfo(narinfo).count(b"Sig: ") == 1


@pytest.mark.parametrize(
    ("signature", "is_malformed"),
    [
        *((f"a:{'A' * 86}==", False), ("a b:AA==", False), (f"a:{'A' * 128}", False)),
        *(("", True), ("a", True), (":AAAA", True), ("a:", True), ("a:!!", True), ("a:A*A", True)),
    ],
)
def test_a_signature_that_nix_cannot_read_is_found(signature: str, is_malformed: bool) -> None:
    data = f"{BASE}Sig: {signature}\n".encode()
    info, signatures = parse_narinfo(data).info, signatures_as_written(data)
    fails = pytest.raises(FormatError, match="signature") if is_malformed else nullcontext()
    with fails:
        assert not TrustedKeys().verify_as_nix(info, signatures, reads_every=True)
    assert not TrustedKeys().verify_as_nix(info, signatures, reads_every=False)


@pytest.mark.parametrize("between", [" ", "$", "\t"])
def test_nix_does_not_look_at_what_stands_for_the_space_after_a_colon(between: str) -> None:
    read = parse_narinfo(f"{BASE}Compression:{between}zstd\n".encode())
    assert read == parse_narinfo(f"{BASE}Compression: zstd\n".encode())
    assert read.compression == "zstd"


def test_a_value_cannot_bring_lines_of_its_own() -> None:
    info = PathInfo(
        path=StorePath.parse(PATH), nar_hash=Hash.of(b""), nar_size=1, signatures=("a\nURL: b",)
    )
    with pytest.raises(FormatError, match="line break in Sig"):
        print_narinfo(NarInfo(info=info, url="x", compression="none"))


@given(st.booleans(), st.none() | st.integers(-100, 100))
def test_cache_info_round_trip(want_mass_query: bool, priority: int | None) -> None:
    info = CacheInfo(want_mass_query=want_mass_query, priority=priority)
    assert parse_cache_info(print_cache_info(info)) == info


@given(st.binary(max_size=100))
def test_any_bytes_are_a_cache_info_or_a_format_error(data: bytes) -> None:
    for text in (data, b"Priority: " + data):
        try:
            parse_cache_info(text)
        except FormatError:
            continue


@pytest.mark.parametrize(
    ("text", "priority"),
    [
        (b"", None),
        (b"<html>\nStoreDir\nPriority", None),
        (b"\xff: \xff\nPriority: 7", 7),
        (b"Priority:\t 40 \r\nStoreDir:/nix/store\r\n", 40),
        (b"Priority: 40.5\nPriority: -3rd\n", -3),
        (b" StoreDir: /gnu/store\nstoredir: /gnu/store\n", None),
    ],
)
def test_what_a_cache_says_is_read_as_nix_reads_it(text: bytes, priority: int | None) -> None:
    assert parse_cache_info(text) == CacheInfo(priority=priority)


@pytest.mark.parametrize(
    "text",
    [
        b"StoreDir: /gnu/store\nStoreDir: /nix/store\n",
        b"StoreDir: \n",
        b"Priority: x\n",
        b"Priority:\n",
        b"Priority: 99999999999\n",
    ],
)
def test_a_cache_that_cannot_be_used_is_refused(text: bytes) -> None:
    with pytest.raises(FormatError):
        parse_cache_info(text)
