from __future__ import annotations

import gzip
import lzma
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rig.running import ScratchStore, run
from rig.servers import Reply, Server

from mirror.errors import (
    Attempt,
    DestinationError,
    IntegrityError,
    NotAvailableError,
    SourceError,
    TransientError,
)
from mirror.formats import nar
from mirror.formats.content_address import fixed_output_path
from mirror.formats.hashes import Hash
from mirror.formats.store_path import StorePath
from mirror.formats.verifier import NarVerifier
from mirror.planning.fetchers.fixed_outputs import (
    BuilderOnly,
    Download,
    FixedOutput,
    Patch,
    PatchOptions,
    RestoreNar,
    Unfetchable,
    Unpack,
)
from mirror.sources.origins.hashed_mirror import HashedMirrors
from mirror.sources.origins.origin import Origins
from mirror.sources.origins.software_heritage import SoftwareHeritage
from mirror.sources.source import Wanted

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.formats.verifier import VerifiedPath
    from mirror.nix.command import Nix
    from mirror.planning.fetchers.fixed_outputs import Origin
    from mirror.sources.http.client import HttpClient
    from mirror.sources.source import Source

CONTENT = b"upstream's source\n" * 5000
DERIVATION = StorePath.from_base_name("d" * 32 + "-source-1.drv")


def fixed(origin: Origin, digest: Hash, mode: str = "flat", name: str = "source-1") -> FixedOutput:
    return FixedOutput(
        path=fixed_output_path(name, hash=digest, recursive=mode == "nar"),
        derivation=DERIVATION,
        system="x86_64-linux",
        hash=digest,
        mode="nar" if mode == "nar" else "flat",
        origin=origin,
    )


def nar_hash(node: nar.Node, algorithm: str = "sha256") -> Hash:
    return Hash.of(b"".join(nar.serialize(node)), algorithm)


def assert_empty(directory: Path) -> None:
    assert not list(directory.iterdir())


def archive_of(directory: Path, name: str) -> bytes:
    (directory / name).parent.mkdir()
    (directory / name).write_bytes(CONTENT)
    command = ["tar", "-czf", "-", "-C", str(directory), name]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


async def fetch(source: Source, wanted: FixedOutput) -> tuple[VerifiedPath, tuple[Attempt, ...]]:
    async with source.open(Wanted(path=wanted.path, fixed_output=wanted)) as opened:
        assert opened.claim.made_here
        verifier = NarVerifier(opened.claim)
        async for chunk in opened.chunks:
            for _ in verifier.feed(chunk):
                pass
        return verifier.finish(), opened.attempts


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


@pytest.fixture
def origins(client: HttpClient, scratch: Path) -> Origins:
    return Origins(client, scratch)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1", "md5"])
@pytest.mark.parametrize("mode", ["flat", "nar"])
async def test_a_file_is_accepted_on_a_hash_of_any_kind_and_is_at_the_path_that_nix_computes(
    nix_stable: Nix,
    origins: Origins,
    server: Server,
    scratch: Path,
    tmp_path: Path,
    algorithm: str,
    mode: str,
) -> None:
    url = server.on("/a", Reply(body=CONTENT))
    node = nar.Regular.of(CONTENT)
    digest = nar_hash(node, algorithm) if mode == "nar" else Hash.of(CONTENT, algorithm)
    wanted = fixed(Download(urls=(url,)), digest, mode)
    verified, attempts = await fetch(origins, wanted)
    assert verified.info.nar_hash == nar_hash(node)
    assert verified.info.content_address == wanted.content_address
    assert not attempts
    (tmp_path / "source-1").write_bytes(CONTENT)
    add = ("nix-store", "--add-fixed", *(["--recursive"] if mode == "nar" else []), algorithm)
    store = ScratchStore(tmp_path / "store")
    added = run(nix_stable, *add, str(tmp_path / "source-1"), store=store)
    assert added.stdout.strip() == wanted.path
    store.remove()
    assert_empty(scratch)


async def test_an_executable_file(origins: Origins, server: Server) -> None:
    url = server.on("/a", Reply(body=CONTENT))
    digest = nar_hash(nar.Regular.of(CONTENT, executable=True))
    wanted = fixed(Download(urls=(url,), executable=True), digest, "nar")
    verified, _ = await fetch(origins, wanted)
    assert verified.info.nar_hash == digest
    with pytest.raises(IntegrityError, match="not a plain file"):
        await fetch(origins, fixed(Download(urls=(url,), executable=True), Hash.of(CONTENT)))


@pytest.mark.parametrize("pack", [bytes, lzma.compress, gzip.compress])
async def test_a_nar_perhaps_compressed(origins: Origins, server: Server, pack: type) -> None:
    data = b"".join(nar.serialize(nar.Directory({b"a": nar.Regular.of(CONTENT)})))
    url = server.on("/a.nar.xz", Reply(body=pack(data)))
    verified, _ = await fetch(origins, fixed(RestoreNar(urls=(url,)), Hash.of(data), "nar"))
    assert verified.info.nar_size == len(data)


async def test_an_archive_with_and_without_its_root(
    origins: Origins, server: Server, tmp_path: Path
) -> None:
    url = server.on("/a.tar.gz", Reply(body=archive_of(tmp_path, "top/a")))
    inner = nar.Directory({b"a": nar.Regular.of(CONTENT)})
    await fetch(origins, fixed(Unpack(urls=(url,)), nar_hash(inner), "nar"))
    outer = nar.Directory({b"top": inner})
    whole = Unpack(urls=(url,), strip_root=False)
    await fetch(origins, fixed(whole, nar_hash(outer), "nar"))
    with pytest.raises(IntegrityError, match=r"expected sha256-.*, got sha256-"):
        await fetch(origins, fixed(whole, nar_hash(inner), "nar"))
    server.on("/a.tar.gz", Reply(body=b"<html>"))
    with pytest.raises(IntegrityError, match=r"/a\.tar\.gz: not an archive"):
        await fetch(origins, fixed(whole, nar_hash(inner), "nar"))


async def test_each_url_is_tried_and_each_failure_kept(
    quick_client: HttpClient, server: Server, scratch: Path
) -> None:
    origins = Origins(quick_client, scratch)
    urls = (
        server.on("/wrong", Reply(body=b"something else")),
        server.on("/missing", Reply(status=404)),
        server.on("/cut", Reply(body=CONTENT, cut_after=100)),
        server.on("/hangs", Reply(body=CONTENT, hang=True)),
        "ftp://old.example/a",
        server.on("/good", Reply(body=CONTENT)),
    )
    wanted = fixed(Download(urls=urls), Hash.of(CONTENT))
    verified, attempts = await fetch(origins, wanted)
    assert verified.info.path == wanted.path
    assert [each.source for each in attempts] == list(urls[:-1])
    for attempt, word in zip(
        attempts, ["expected", "404", "cut short", "timed out", "ftp"], strict=True
    ):
        assert word in attempt.error
    with pytest.raises(IntegrityError) as caught:
        await fetch(origins, fixed(Download(urls=urls[:-1]), Hash.of(CONTENT)))
    assert [each.source for each in caught.value.attempts] == list(urls[:-1])
    assert all(url in caught.value.message for url in urls[:-1])
    assert_empty(scratch)


async def test_an_origin_that_does_not_end_leaves_half_of_the_room(
    origins: Origins, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = shutil.disk_usage("/")._replace(free=20_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)
    url = server.on("/a", Reply(body=bytes(1 << 20), length=False, endless=True))
    with pytest.raises(IntegrityError, match="more than the 10000000 bytes it may have"):
        await fetch(origins, fixed(Download(urls=(url,)), Hash.of(CONTENT)))


async def test_a_file_that_changes_while_it_comes_is_had_anew(
    origins: Origins, server: Server
) -> None:
    content = CONTENT * 60
    old = Reply(body=content[::-1], etag='"old"', cut_after=4_000_000)
    new = Reply(body=content, etag='"new"')
    url = server.on("/a", old, new)
    await fetch(origins, fixed(Download(urls=(url,)), Hash.of(content)))
    assert ["range" in request.headers for request in server.requests] == [False, True, False]
    again = server.on("/b", old, replace(new, cut_after=4_000_000), old, new)
    with pytest.raises(TransientError, match="changed while"):
        await fetch(origins, fixed(Download(urls=(again,)), Hash.of(content)))


async def test_the_strongest_failure_gives_the_error_its_kind(
    origins: Origins, server: Server
) -> None:
    missing = server.on("/missing", Reply(status=404))
    busy = server.on("/busy", Reply(status=503))
    for urls, kind in (
        ((missing,), NotAvailableError),
        ((missing, busy), TransientError),
        ((), NotAvailableError),
    ):
        with pytest.raises(kind):
            await fetch(origins, fixed(Download(urls=urls), Hash.of(CONTENT)))


async def test_a_file_that_the_server_calls_encoded_is_kept_as_curl_keeps_it(
    origins: Origins, server: Server
) -> None:
    packed = gzip.compress(CONTENT)
    url = server.on("/a.gz", Reply(body=packed, headers={"Content-Encoding": "gzip"}))
    for content in (packed, CONTENT):
        await fetch(origins, fixed(Download(urls=(url,)), Hash.of(content)))


async def test_a_patch_is_normalised_also_where_the_server_compressed_it(
    origins: Origins, server: Server, scratch: Path
) -> None:
    normal = b"--- a\n+++ a\n@@ -1 +1 @@\n-a\n+b\n"
    patch = b"Subject: it\n" + normal
    options = PatchOptions(git_headers=False)
    plain = server.on("/a.patch", Reply(body=patch))
    packed = server.on("/b.patch", Reply(body=gzip.compress(patch)))
    for url in (plain, packed):
        verified, _ = await fetch(
            origins, fixed(Patch(urls=(url,), options=options), Hash.of(normal))
        )
        assert verified.info.nar_hash == nar_hash(nar.Regular.of(normal))
    page = server.on("/c.patch", Reply(body=b"<html>"))
    wanted = fixed(Patch(urls=(page,), options=options), Hash.of(normal))
    with pytest.raises(IntegrityError, match="contains no patch"):
        await fetch(origins, wanted)
    assert_empty(scratch)


async def test_a_patch_that_does_not_end_is_given_up(
    origins: Origins, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.sources.origins.origin.MOST_BYTES", 1_000)
    url = server.on("/a.patch", Reply(body=b"-" * 2_000))
    options = PatchOptions(git_headers=False)
    with pytest.raises(IntegrityError, match="more than the 1000 bytes"):
        await fetch(origins, fixed(Patch(urls=(url,), options=options), Hash.of(b"")))


async def test_what_only_its_builder_makes_is_tried_where_that_may_do(
    origins: Origins, server: Server
) -> None:
    url = server.on("/a", Reply(body=CONTENT))
    attempt = BuilderOnly(reason="of the patch", attempt=Download(urls=(url,)))
    await fetch(origins, fixed(attempt, Hash.of(CONTENT)))
    with pytest.raises(NotAvailableError, match="of the patch"):
        await fetch(origins, fixed(attempt, Hash.of(b"normalised")))
    with pytest.raises(NotAvailableError, match="only its builder"):
        await fetch(origins, fixed(BuilderOnly(reason="x"), Hash.of(CONTENT)))
    with pytest.raises(NotAvailableError, match="do it yourself"):
        await fetch(origins, fixed(Unfetchable(reason="do it yourself"), Hash.of(CONTENT)))


async def test_what_is_no_fixed_output_has_no_origin(origins: Origins) -> None:
    with pytest.raises(NotAvailableError, match="no origin"):
        async with origins.open(Wanted(path=DERIVATION)):
            pass


async def test_an_unusable_scratch_directory_is_not_the_sources_fault(
    client: HttpClient, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    url = server.on("/a", Reply(body=CONTENT))
    with pytest.raises(DestinationError, match="scratch"):
        await fetch(
            Origins(client, tmp_path / "file" / "x"),
            fixed(Download(urls=(url,)), Hash.of(CONTENT)),
        )


async def test_a_hashed_mirror_is_asked_by_algorithm_and_base16(
    client: HttpClient, server: Server, scratch: Path
) -> None:
    digest = Hash.of(CONTENT, "sha512")
    server.on(f"/empty/sha512/{digest.base16}", Reply(status=404))
    server.on(f"/wrong/sha512/{digest.base16}", Reply(body=b"wrong"))
    server.on(f"/good/sha512/{digest.base16}", Reply(body=CONTENT))
    mirrors = [f"{server.url}/{name}" for name in ("empty", "wrong", "good/")]
    wanted = fixed(Download(urls=()), digest)
    _, attempts = await fetch(HashedMirrors(mirrors, client, scratch), wanted)
    assert len(attempts) == 2
    with pytest.raises(IntegrityError) as caught:
        await fetch(HashedMirrors(mirrors[:2], client, scratch), wanted)
    assert len(caught.value.attempts) == 2


async def test_hashed_mirrors_have_flat_files_only(
    client: HttpClient, server: Server, scratch: Path
) -> None:
    mirrors = HashedMirrors([server.url], client, scratch)
    digest = Hash.of(CONTENT)
    for wanted in (
        fixed(Download(urls=()), digest, "nar"),
        fixed(Download(urls=()), Hash("sha256", bytes(32))),
    ):
        with pytest.raises(NotAvailableError):
            await fetch(mirrors, wanted)
    with pytest.raises(NotAvailableError, match="no hashed mirror is configured"):
        await fetch(HashedMirrors([], client, scratch), fixed(Download(urls=()), digest))
    assert not server.requests


async def test_the_software_heritage_archive(
    client: HttpClient, server: Server, scratch: Path
) -> None:
    digest = Hash.of(CONTENT)
    server.on(f"/api/1/content/sha256:{digest.base16}/raw/", Reply(body=CONTENT))
    archive = SoftwareHeritage(client, scratch, url=server.url)
    await fetch(archive, fixed(Download(urls=()), digest))
    with pytest.raises(NotAvailableError):
        await fetch(archive, fixed(Download(urls=()), Hash.of(b"other")))
    with pytest.raises(SourceError, match="sha512"):
        await fetch(archive, fixed(Download(urls=()), Hash.of(CONTENT, "sha512")))
