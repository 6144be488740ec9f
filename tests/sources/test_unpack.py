from __future__ import annotations

import asyncio
import io
import os
import shutil
import stat
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rig.running import run

from mirror.errors import FormatError, IntegrityError
from mirror.formats import nar
from mirror.formats.hashes import Hash
from mirror.nix.file_tree import tree
from mirror.sources.archives.tree import Limits
from mirror.sources.archives.unpack import strip_root, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.nix.command import Nix

COMPRESSORS = {
    "": [],
    ".gz": ["gzip", "-n"],
    ".bz2": ["bzip2"],
    ".xz": ["xz"],
    ".lzma": ["lzma"],
    ".zst": ["zstd", "-q"],
}


def nix_hash(nix: Nix, path: Path) -> Hash:
    printed = run(nix, "nix-hash", "--type", "sha256", str(path)).stdout.strip()
    return Hash.parse(printed, "sha256")


def our_hash(node: nar.Node) -> Hash:
    data = b"".join(nar.serialize(node))
    assert len(data) == nar.serialized_size(node)
    return Hash.of(data)


def unpacked(archive: Path, limits: Limits | None = None) -> nar.Node:
    scratch = archive.parent / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    return asyncio.run(unpack(archive, scratch, limits))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree with whatever archives have trouble with."""
    top = tmp_path / "in" / "source-1"
    (top / "a" / "empty").mkdir(parents=True)
    (top / "README").write_bytes(b"hello\n")
    (top / ("long-" * 30)).mkdir()
    (top / ("long-" * 30) / ("name-" * 40)).write_bytes(b"long")
    (top / "größe-ü").write_bytes(b"utf-8")
    run_me = top / "a" / "run.sh"
    run_me.write_bytes(b"#!/bin/sh\n")
    run_me.chmod(0o755)
    (top / "a" / "group-only").write_bytes(b"x for the group alone")
    (top / "a" / "group-only").chmod(0o654)
    (top / "a" / "read-only").write_bytes(b"read-only")
    (top / "a" / "read-only").chmod(0o444)
    (top / "a" / "linked").hardlink_to(run_me)
    (top / "link").symlink_to("a/run.sh")
    (top / "outside").symlink_to("/etc/passwd")
    (top / ("link-" * 30)).symlink_to("../" * 50 + "x")
    (top / "big").write_bytes(os.urandom(300_000))
    with (top / "sparse").open("wb") as file:
        for position in (0, 200_000, 500_000):
            file.seek(position)
            file.write(b"data" * 5000)
        file.truncate(700_000)
    return top


def compress(tar: Path, suffix: str) -> Path:
    # The name says nothing: the content does.
    packed = tar.with_name("download")
    command = COMPRESSORS[suffix]
    data = tar.read_bytes()
    if command:
        data = subprocess.run(
            [*command, "-c"], input=data, stdout=subprocess.PIPE, check=True
        ).stdout
    packed.write_bytes(data)
    return packed


@pytest.mark.parametrize(
    ("form", "suffix"),
    [*(("gnu", suffix) for suffix in COMPRESSORS), ("posix", ""), ("posix", ".xz")],
)
@pytest.mark.parametrize("name", ["source-1", "./source-1"])
def test_a_tar_is_the_tree_that_gnu_tar_makes_of_it(
    nix_stable: Nix, source: Path, tmp_path: Path, form: str, suffix: str, name: str
) -> None:
    tar = tmp_path / "made.tar"
    create = [
        "tar",
        "--sparse",
        f"--format={form}",
        "-cf",
        str(tar),
        "-C",
        str(source.parent),
        name,
    ]
    subprocess.run(create, check=True)
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "-xf", str(tar), "-C", str(out)], check=True)
    tree_of_it = unpacked(compress(tar, suffix))
    assert our_hash(tree_of_it) == nix_hash(nix_stable, out)
    assert our_hash(strip_root(tree_of_it)) == nix_hash(nix_stable, out / "source-1")
    assert our_hash(strip_root(tree_of_it)) == nix_hash(nix_stable, source)


@pytest.mark.parametrize("form", ["v7", "ustar"])
def test_old_forms_of_tar_are_read_too(
    nix_stable: Nix, source: Path, tmp_path: Path, form: str
) -> None:
    tar = tmp_path / "made.tar"
    create = ["tar", f"--format={form}", "-cf", str(tar), "-C", str(source), "README", "a", "link"]
    subprocess.run(create, check=True)
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "-xf", str(tar), "-C", str(out)], check=True)
    assert our_hash(unpacked(tar)) == nix_hash(nix_stable, out)


@pytest.mark.parametrize("options", [["-y"], ["-0"], ["-X"]])
def test_a_zip_is_the_tree_that_unzip_makes_of_it(
    nix_stable: Nix, source: Path, tmp_path: Path, options: list[str]
) -> None:
    packed = tmp_path / "download"
    create = ["zip", "-q", "-r", *options, str(packed), "source-1"]
    subprocess.run(create, cwd=source.parent, check=True)
    packed = packed.with_suffix(".zip")
    out = tmp_path / "out"
    subprocess.run(
        ["unzip", "-q", str(packed), "-d", str(out)],
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        check=True,
    )
    assert our_hash(unpacked(packed)) == nix_hash(nix_stable, out)


def test_a_zip_made_on_dos_has_no_executables(nix_stable: Nix, tmp_path: Path) -> None:
    packed = tmp_path / "download"
    with zipfile.ZipFile(packed, "w") as archive:
        for name, system, attributes in (
            ("dir/dos.exe", 0, 0o100755 << 16),
            ("dir/unix", 3, 0o100755 << 16),
            ("dir/plain", 3, 0),
        ):
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = system, attributes
            archive.writestr(info, name)
    out = tmp_path / "out"
    subprocess.run(["unzip", "-q", str(packed), "-d", str(out)], check=True)
    subprocess.run(["chmod", "-R", "+w", str(out)], check=True)
    assert our_hash(unpacked(packed)) == nix_hash(nix_stable, out)


def test_an_encoding_that_a_server_added_is_undone_too(source: Path, tmp_path: Path) -> None:
    tar = tmp_path / "made.tar"
    subprocess.run(["tar", "-cf", str(tar), "-C", str(source), "README"], check=True)
    twice = compress(compress(tar, ".xz").rename(tmp_path / "once"), ".gz")
    assert our_hash(unpacked(twice)) == our_hash(unpacked(tar))


def test_stripping_wants_exactly_one_entry_and_keeps_a_file_in_its_directory() -> None:
    file = nar.Regular.of(b"x")
    inner = nar.Directory({b"x": file})
    assert strip_root(nar.Directory({b"top": inner})) == inner
    assert strip_root(nar.Directory({b"file": file})) == nar.Directory({b"file": file})
    for entries in ({}, {b"a": inner, b"b": inner}):
        with pytest.raises(IntegrityError, match="entries at its top"):
            strip_root(nar.Directory(entries))


def a_tar(tmp_path: Path, *members: tarfile.TarInfo) -> Path:
    archive = tmp_path / "download"
    with tarfile.open(archive, "w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    return archive


def member(
    name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


def test_a_later_entry_replaces_an_earlier_one(tmp_path: Path) -> None:
    archive = a_tar(
        tmp_path,
        member("a", size=5),
        member("a", size=7),
        member("d", tarfile.DIRTYPE),
        member("d/b", tarfile.LNKTYPE, "a"),
        member("d", tarfile.DIRTYPE),
    )
    found = unpacked(archive)
    assert isinstance(found, nar.Directory)
    directory = found.entries[b"d"]
    assert isinstance(directory, nar.Directory)
    copied = directory.entries[b"b"]
    assert isinstance(copied, nar.Regular)
    assert copied.size == 7


@pytest.mark.parametrize(
    "members",
    [
        [member("/etc/passwd")],
        [member("../x")],
        [member("a/../../x")],
        [member("link", tarfile.SYMTYPE, "/etc"), member("link/passwd")],
        [member("hard", tarfile.LNKTYPE, "/etc/passwd")],
        [member("hard", tarfile.LNKTYPE, "../x")],
        [member("hard", tarfile.LNKTYPE, "not-there")],
        [member("d", tarfile.DIRTYPE), member("hard", tarfile.LNKTYPE, "d")],
        [member("null", tarfile.CHRTYPE)],
        [member("disk", tarfile.BLKTYPE)],
        [member("pipe", tarfile.FIFOTYPE)],
        [member("a/b"), member("a")],
        [member("a"), member("a/b")],
        [member(".")],
    ],
    ids=lambda members: members[-1].name,
)
def test_hostile_tars_are_refused(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    with pytest.raises(IntegrityError):
        unpacked(a_tar(tmp_path, *members))


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x"])
def test_hostile_zips_are_refused(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "download"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr(name, b"x")
    with pytest.raises(IntegrityError):
        unpacked(archive)


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=str
)
def test_a_zip_whose_contents_are_malformed_is_refused(tmp_path: Path, method: int) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", method) as members:
        members.writestr("top/file", bytes(range(256)) * 400)
    data = bytearray(archive.read_bytes())
    data[45:60] = (byte ^ 0x5A for byte in data[45:60])
    archive.write_bytes(data)
    with pytest.raises(IntegrityError, match="malformed zip archive"):
        unpacked(archive)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_tar_of_headers_alone_is_refused(tmp_path: Path, kind: bytes) -> None:
    header = tarfile.TarInfo("header")
    header.type, header.size = kind, 10
    archive = tmp_path / "a.tar"
    archive.write_bytes(3000 * (header.tobuf() + b"10 a=abcd\n".ljust(512, b"\0")))
    with pytest.raises(IntegrityError, match="malformed tar archive"):
        unpacked(archive)


def test_a_zip_with_a_device_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "download"
    with zipfile.ZipFile(archive, "w") as made:
        info = zipfile.ZipInfo("null")
        info.create_system, info.external_attr = 3, stat.S_IFCHR << 16
        made.writestr(info, b"")
    with pytest.raises(IntegrityError, match="neither"):
        unpacked(archive)


def bomb_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("zeros", bytes(50_000_000))


def bomb_tar(path: Path) -> None:
    with tarfile.open(path, "w:gz") as made:
        made.addfile(member("zeros", size=50_000_000), io.BytesIO(bytes(50_000_000)))


@pytest.mark.parametrize("make", [bomb_zip, bomb_tar])
def test_what_grows_too_large_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    archive = tmp_path / "download"
    make(archive)
    with pytest.raises(IntegrityError, match="more than"):
        unpacked(archive, Limits(size=1_000_000))
    written = sum(file.stat().st_size for file in (tmp_path / "scratch").iterdir())
    assert written < 4_000_000


def test_too_many_entries_are_refused(tmp_path: Path) -> None:
    archive = a_tar(tmp_path, *(member(f"f{number}") for number in range(20)))
    with pytest.raises(IntegrityError, match="more than 10 entries"):
        unpacked(archive, Limits(entries=10))


def test_a_sparse_file_counts_with_its_holes(tmp_path: Path) -> None:
    (tmp_path / "holes").touch()
    os.truncate(tmp_path / "holes", 1 << 40)
    archive = tmp_path / "download"
    subprocess.run(["tar", "--sparse", "-cf", archive, "-C", tmp_path, "holes"], check=True)
    with pytest.raises(IntegrityError, match="more than"):
        unpacked(archive)


def test_a_header_that_asks_for_much_memory_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "download"
    header = member("long", tarfile.GNUTYPE_LONGNAME, size=1 << 33)
    archive.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(10_000))
    with pytest.raises(IntegrityError, match="header"):
        unpacked(archive)


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_a_cut_archive_is_refused(source: Path, tmp_path: Path, suffix: str) -> None:
    tar = tmp_path / "made.tar"
    subprocess.run(["tar", "-cf", str(tar), "-C", str(source), "big"], check=True)
    archive = compress(tar, suffix)
    os.truncate(archive, archive.stat().st_size // 2)
    with pytest.raises(IntegrityError):
        unpacked(archive)


@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html>" * 100, b"\x1f\x8bnonsense", b"PK\3\4nonsense", bytes(100)]
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    archive = tmp_path / "download"
    archive.write_bytes(content)
    with pytest.raises(IntegrityError):
        unpacked(archive)


def test_a_tree_on_disk_is_what_nix_sees(nix_stable: Nix, source: Path) -> None:
    assert our_hash(tree(source)) == nix_hash(nix_stable, source)
    for name in ("README", "a/run.sh", "link"):
        assert our_hash(tree(source / name)) == nix_hash(nix_stable, source / name)


def test_a_name_that_is_not_utf_8_is_kept(nix_stable: Nix, tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    Path(os.fsdecode(os.fsencode(top) + b"/caf\xe9")).write_bytes(b"latin")
    assert our_hash(tree(top)) == nix_hash(nix_stable, top)
    archive = tmp_path / "download"
    subprocess.run(["tar", "-cf", archive, "-C", tmp_path, "top"], check=True)
    assert our_hash(strip_root(unpacked(archive))) == nix_hash(nix_stable, top)


def test_a_pipe_on_disk_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FormatError, match="neither"):
        tree(tmp_path)
