from __future__ import annotations

import asyncio
import contextlib
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rig.running import ScratchStore, run
from rig.servers import Reply, Server

from mirror.demo.busybox import find_busybox
from mirror.errors import IntegrityError, NotAvailableError, RequestError, TransientError
from mirror.formats.hashes import Hash
from mirror.formats.narinfo import parse_narinfo, print_narinfo
from mirror.formats.signing import PublicKey, SecretKey, TrustedKeys
from mirror.formats.store_path import StorePath
from mirror.formats.verifier import NarVerifier
from mirror.planning.fetchers.fixed_outputs import Download, FixedOutput
from mirror.sources.caches.binary_cache import BinaryCache
from mirror.sources.caches.by_priority import Caches
from mirror.sources.caches.memory import Memory
from mirror.sources.source import Wanted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rig.patience import Pauses

    from mirror.formats.narinfo import NarInfo
    from mirror.formats.verifier import VerifiedPath
    from mirror.nix.command import Nix
    from mirror.sources.http.client import HttpClient

OF_THE_FILE = {"url", "file_size", "file_hash"}
COMPRESSIONS = ("none", "xz", "zstd", "bzip2", "gzip", "br")
EXPRESSION = """
derivation {
  name = "made"; system = builtins.currentSystem; builder = "/bin/sh";
  args = [ "-c" "echo ${builtins.toFile "other" "hello"} > $out" ];
}
"""


class Made:
    """A store path that Nix built, in signed caches that Nix wrote, one for each compression."""

    def __init__(self, directory: Path, path: StorePath, source: StorePath, key: PublicKey) -> None:
        self.directory = directory
        self.path = path
        self.source = source
        self.keys = TrustedKeys([key])


@pytest.fixture(scope="module")
def made(nix_stable: Nix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    directory = tmp_path_factory.mktemp("caches")
    store = ScratchStore(directory / "store")
    busybox = asyncio.run(find_busybox(nix_stable))
    plain = ["sandbox = true", f"sandbox-paths = /bin/sh={busybox}", "substituters ="]
    expression = directory / "made.nix"
    expression.write_text(EXPRESSION)
    built = run(
        nix_stable, "nix-build", "--no-out-link", str(expression), store=store, config=plain
    )
    path = StorePath.parse(built.stdout.strip())
    file = directory / "source-1"
    file.write_bytes(b"some source\n" * 1000)
    added = run(nix_stable, "nix-store", "--add-fixed", "sha256", str(file), store=store)
    source = StorePath.parse(added.stdout.strip())
    secret, public = directory / "secret", directory / "public"
    generated = ("nix-store", "--generate-binary-cache-key", "test-1", str(secret), str(public))
    run(nix_stable, *generated)
    for compression in COMPRESSIONS:
        cache = f"file://{directory}/{compression}?compression={compression}&secret-key={secret}"
        run(nix_stable, "nix", "copy", "--to", cache, path, source, store=store, config=plain)
    yield Made(directory, path, source, PublicKey.parse(public.read_text().strip()))
    store.remove()


@pytest.fixture
def cache(made: Made, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(made.directory / "xz", tmp_path / "cache")


def change(cache: Path, path: StorePath, **fields: object) -> NarInfo:
    file = cache / f"{path.hash_part}.narinfo"
    narinfo = parse_narinfo(file.read_bytes())
    of_info = {name: fields.pop(name) for name in [*fields] if name not in OF_THE_FILE}
    changed = replace(narinfo, info=replace(narinfo.info, **of_info), **fields)  # type: ignore[arg-type] # a table of arguments
    file.write_bytes(print_narinfo(changed))
    return changed


def fixed_output(made: Made) -> FixedOutput:
    return FixedOutput(
        path=made.source,
        derivation=made.path,
        system="x86_64-linux",
        hash=Hash.of(b"some source\n" * 1000),
        mode="flat",
        origin=Download(urls=()),
    )


async def fetch(cache: BinaryCache, wanted: Wanted) -> VerifiedPath:
    async with cache.open(wanted) as nar:
        verifier = NarVerifier(nar.claim)
        async for chunk in nar.chunks:
            for _ in verifier.feed(chunk):
                pass
        return verifier.finish()


@pytest.mark.parametrize("compression", COMPRESSIONS)
async def test_what_nix_wrote_is_read_over_http_and_from_a_directory(
    made: Made, client: HttpClient, compression: str
) -> None:
    directory = made.directory / compression
    async with Server(directory) as server:
        for url in (server.url, server.url + "/", directory.as_uri()):
            cache = await BinaryCache.connect(url, client, keys=made.keys)
            verified = await fetch(cache, Wanted(path=made.path))
            assert verified.info.path == made.path
            assert len(verified.info.signatures) == 1
            assert len(verified.info.references) == 1


async def test_priority_and_trust_come_from_the_url_or_the_cache(
    made: Made, client: HttpClient, cache: Path
) -> None:
    url = cache.as_uri()
    plain = await BinaryCache.connect(url, client)
    assert (plain.name, plain.priority, plain.trusted) == (url, 50, False)
    (cache / "nix-cache-info").write_text("StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 30\n")
    said = await BinaryCache.connect(url, client)
    assert (said.priority, said.wants_mass_queries) == (30, True)
    asked = await BinaryCache.connect(f"{url}?priority=7&trusted=true&compression=xz", client)
    assert (asked.name, asked.priority, asked.trusted) == (url, 7, True)
    await fetch(asked, Wanted(path=made.path))


async def test_a_password_in_the_url_is_used_and_not_told(
    made: Made, client: HttpClient, server: Server
) -> None:
    url = server.url.replace("://", "://bob:s3cret@")
    server.on("/nix-cache-info", Reply(body=b"StoreDir: /nix/store\n"))
    server.on(f"/{made.path.hash_part}.narinfo", Reply(status=401))
    cache = await BinaryCache.connect(url, client, keys=made.keys)
    assert cache.name == server.url.replace("://", "://…@")
    with pytest.raises(NotAvailableError, match=r"…@.*HTTP 401") as caught:
        await cache.lookup(made.path)
    assert "s3cret" not in f"{caught.value}{cache!r}"
    assert all(each.headers["authorization"] for each in server.requests)


@pytest.mark.parametrize(
    "url", ["ftp://x", "/some/where", "file://", "file:///x?priority=low", "http://[::1"]
)
async def test_what_is_no_url_of_a_cache_is_a_bad_request(
    client: HttpClient, url: str, cache: Path
) -> None:
    with pytest.raises(RequestError):
        await BinaryCache.connect(url.replace("/x", str(cache)), client)


async def test_what_is_no_cache_says_so(client: HttpClient, server: Server, cache: Path) -> None:
    with pytest.raises(NotAvailableError, match="is not a binary cache"):
        await BinaryCache.connect(server.url, client)
    (cache / "nix-cache-info").write_text("StoreDir: /gnu/store\n")
    with pytest.raises(NotAvailableError, match="/gnu/store"):
        await BinaryCache.connect(cache.as_uri(), client)
    server.on("/nix-cache-info", Reply(status=500))
    with pytest.raises(TransientError):
        await BinaryCache.connect(server.url, client)


async def test_a_directory_of_narinfos_is_a_cache_without_its_info(
    made: Made, client: HttpClient, cache: Path
) -> None:
    (cache / "nix-cache-info").unlink()
    connected = await BinaryCache.connect(cache.as_uri(), client, keys=made.keys)
    assert (connected.priority, connected.wants_mass_queries) == (50, False)
    await fetch(connected, Wanted(path=made.path))
    with pytest.raises(NotAvailableError, match="is not a binary cache"):
        await BinaryCache.connect((cache / "nar").as_uri(), client)


async def test_a_path_is_asked_for_once(made: Made, client: HttpClient) -> None:
    async with Server(made.directory / "xz") as server:
        cache = await BinaryCache.connect(server.url, client, keys=made.keys)
        missing = StorePath.from_base_name("0" * 32 + "-missing")
        for _ in range(3):
            assert await cache.lookup(missing) is None
            assert (await cache.lookup(made.path)) is not None
        assert len(server.requests) == 3
        with pytest.raises(NotAvailableError, match="does not have"):
            await fetch(cache, Wanted(path=missing))


async def test_a_cache_that_does_not_answer_is_not_taken_for_one_without_the_path(
    made: Made, client: HttpClient
) -> None:
    async with Server(made.directory / "xz") as server:
        cache = await BinaryCache.connect(server.url, client)
        server.on(f"/{made.path.hash_part}.narinfo", Reply(status=503))
        with pytest.raises(TransientError):
            await cache.lookup(made.path)
        server.on(f"/{made.path.hash_part}.narinfo", Reply(status=401))
        with pytest.raises(NotAvailableError, match="401"):
            await cache.lookup(made.path)


async def test_a_cache_that_is_down_is_soon_left_alone(
    made: Made, client: HttpClient, pauses: Pauses
) -> None:
    async with Server(made.directory / "xz") as server:
        cache = await BinaryCache.connect(server.url, client, keys=made.keys)
    for _ in range(3):
        with pytest.raises(TransientError):
            await cache.lookup(made.path)
    pauses.seconds.clear()
    with pytest.raises(TransientError, match="not asked again"):
        await cache.lookup(made.path)
    assert not pauses.seconds


async def test_a_cache_that_makes_no_sense_is_soon_left_alone(
    made: Made, client: HttpClient
) -> None:
    paths = [StorePath.from_base_name(f"{n}" * 32 + "-x") for n in range(9)]
    async with Server(made.directory / "xz") as server:
        cache = await BinaryCache.connect(server.url, client, keys=made.keys)
        page = Reply(body=b"<html>", headers={"Content-Type": "text/html"})
        for path in paths:
            server.on(f"/{path.hash_part}.narinfo", page)
        for path in paths[:2]:
            with pytest.raises(IntegrityError, match="not a narinfo"):
                await cache.lookup(path)
        assert await cache.lookup(made.path) is not None
        for path in paths:
            with pytest.raises(IntegrityError, match="not a narinfo"):
                await cache.lookup(path)
        assert len(server.requests) == 1 + 2 + 1 + 3
        caches = Caches([cache])
        assert await caches.offer(paths[8], is_fixed_output=False) is None
        assert "not asked again, since" in caches.failures[server.url]


async def test_a_narinfo_of_another_path_is_refused(
    made: Made, client: HttpClient, cache: Path
) -> None:
    shutil.copy(
        cache / f"{made.source.hash_part}.narinfo", cache / f"{made.path.hash_part}.narinfo"
    )
    connected = await BinaryCache.connect(cache.as_uri(), client, keys=made.keys)
    with pytest.raises(IntegrityError, match="it is for"):
        await connected.lookup(made.path)


async def test_a_malformed_narinfo_is_refused(made: Made, client: HttpClient, cache: Path) -> None:
    (cache / f"{made.path.hash_part}.narinfo").write_text("<html>")
    connected = await BinaryCache.connect(cache.as_uri(), client, keys=made.keys)
    with pytest.raises(IntegrityError, match="not a narinfo"):
        await connected.lookup(made.path)


async def test_a_path_that_no_trusted_key_signed_is_refused_before_it_is_downloaded(
    made: Made, client: HttpClient, cache: Path
) -> None:
    async with Server(cache) as server:
        connected = await BinaryCache.connect(server.url, client)
        with pytest.raises(IntegrityError, match=r"none of the trusted keys.* are by test-1"):
            await fetch(connected, Wanted(path=made.path))
        change(cache, made.path, signatures=())
        connected = await BinaryCache.connect(server.url, client, keys=made.keys)
        with pytest.raises(IntegrityError, match="has no signature"):
            await fetch(connected, Wanted(path=made.path))
        assert not any("nar/" in request.path for request in server.requests)


async def test_a_signature_of_something_else_is_no_signature(
    made: Made, client: HttpClient, cache: Path
) -> None:
    change(cache, made.path, nar_size=4711)
    connected = await BinaryCache.connect(cache.as_uri(), client, keys=made.keys)
    with pytest.raises(IntegrityError, match="none of the trusted keys"):
        await fetch(connected, Wanted(path=made.path))


async def test_a_fixed_output_needs_no_signature_and_its_own_hash_decides(
    made: Made, client: HttpClient, cache: Path
) -> None:
    fixed = fixed_output(made)
    change(cache, made.source, signatures=(), content_address=None)
    connected = await BinaryCache.connect(cache.as_uri(), client)
    with pytest.raises(IntegrityError, match="has no signature"):
        await fetch(connected, Wanted(path=made.source))
    verified = await fetch(connected, Wanted(path=made.source, fixed_output=fixed))
    assert verified.info.content_address == fixed.content_address
    other = replace(fixed, hash=Hash.of(b"other"))
    with pytest.raises(IntegrityError):
        await fetch(connected, Wanted(path=made.source, fixed_output=other))
    change(cache, made.source, references=(made.path,))
    connected = await BinaryCache.connect(cache.as_uri(), client)
    with pytest.raises(IntegrityError, match="refers to"):
        await fetch(connected, Wanted(path=made.source, fixed_output=fixed))


async def test_a_path_that_follows_from_its_content_needs_no_signature(
    made: Made, client: HttpClient, cache: Path
) -> None:
    narinfo = change(cache, made.source, signatures=())
    assert narinfo.info.content_address == fixed_output(made).content_address
    connected = await BinaryCache.connect(cache.as_uri(), client)
    await fetch(connected, Wanted(path=made.source))
    change(cache, made.source, content_address=f"fixed:{Hash.of(b'x').nix32}")
    connected = await BinaryCache.connect(cache.as_uri(), client)
    with pytest.raises(IntegrityError):
        await fetch(connected, Wanted(path=made.source))


async def test_a_content_address_that_makes_another_path_stands_for_no_signature(
    made: Made, client: HttpClient, cache: Path
) -> None:
    # Planning believes the references of what is believed: nobody may make them up.
    change(
        cache,
        made.path,
        signatures=(),
        references=(made.source,),
        content_address=f"fixed:r:{Hash.of(b'x').nix32}",
    )
    connected = await BinaryCache.connect(cache.as_uri(), client)
    caches = Caches([connected])
    assert await caches.offer(made.path, is_fixed_output=False) is None
    assert "has no signature" in caches.refusals[made.path]
    with pytest.raises(IntegrityError, match="has no signature"):
        await fetch(connected, Wanted(path=made.path))


async def test_a_fixed_output_with_references_is_not_offered(
    made: Made, client: HttpClient, cache: Path
) -> None:
    change(cache, made.source, signatures=(), references=(made.path,))
    lying = await BinaryCache.connect(f"{cache.as_uri()}?priority=1", client)
    honest = await BinaryCache.connect((made.directory / "none").as_uri(), client)
    caches = Caches([lying])
    assert await caches.offer(made.source, is_fixed_output=True) is None
    assert "has no references" in caches.failures[lying.name]
    offer = await Caches([lying, honest]).offer(made.source, is_fixed_output=True)
    assert offer is not None
    assert offer.source == honest.name
    assert not offer.info.references


async def test_damaged_truncated_and_missing_nars_are_told_apart(
    made: Made, client: HttpClient, cache: Path
) -> None:
    narinfo = change(cache, made.path)
    nar = cache / narinfo.url
    good = nar.read_bytes()
    wanted = Wanted(path=made.path)
    async with Server(cache) as server:
        for url in (server.url, cache.as_uri()):
            connected = await BinaryCache.connect(url, client, keys=made.keys)
            nar.write_bytes(good[:50] + bytes([good[50] ^ 1]) + good[51:])
            with pytest.raises(IntegrityError):
                await fetch(connected, wanted)
            nar.write_bytes(good[:-10])
            with pytest.raises(IntegrityError):
                await fetch(connected, wanted)
            nar.unlink()
            with pytest.raises(NotAvailableError):
                await fetch(connected, wanted)
            nar.write_bytes(good)
            await fetch(connected, wanted)


async def test_a_nar_is_resumed(made: Made, client: HttpClient, cache: Path) -> None:
    narinfo = change(cache, made.path)
    body = (cache / narinfo.url).read_bytes()
    async with Server(cache) as server:
        cut = Reply(body=body, cut_after=len(body) // 2, etag='"1"')
        server.on(f"/{narinfo.url}", cut, Reply(body=body, etag='"1"'))
        connected = await BinaryCache.connect(server.url, client, keys=made.keys)
        await fetch(connected, Wanted(path=made.path))
        assert "range" in server.asked(f"/{narinfo.url}")[1].headers


async def test_a_nar_whose_name_no_file_can_have_is_missing(
    made: Made, client: HttpClient, cache: Path
) -> None:
    change(cache, made.path, url="nar/a\0b.nar.xz")
    connected = await BinaryCache.connect(cache.as_uri(), client, keys=made.keys)
    with pytest.raises(NotAvailableError, match="must name a file"):
        await fetch(connected, Wanted(path=made.path))


@pytest.mark.parametrize(
    "url",
    [
        "../outside.nar.xz",
        "nar/../../outside.nar.xz",
        "nar/%2e%2e/%2e%2e/outside",
        "/etc/passwd",
        "file:///etc/passwd",
        "http://elsewhere.invalid/a.nar.xz",
        "//elsewhere.invalid/a.nar.xz",
        "http://[::1/a.nar.xz",
    ],
)
async def test_a_nar_outside_of_the_cache_is_refused(
    made: Made, client: HttpClient, cache: Path, url: str
) -> None:
    change(cache, made.path, url=url)
    async with Server(cache) as server:
        for base in (server.url, cache.as_uri()):
            if base == server.url and "//" not in url:
                continue  # the same server: the other test
            connected = await BinaryCache.connect(base, client, keys=made.keys)
            with pytest.raises(IntegrityError, match="outside of the cache"):
                await fetch(connected, Wanted(path=made.path))


async def test_a_nar_may_be_anywhere_on_the_same_server(
    made: Made, client: HttpClient, cache: Path
) -> None:
    narinfo = change(cache, made.path)
    body = (cache / narinfo.url).read_bytes()
    async with Server(cache.parent) as server:
        absolute = server.on("/else/a.nar.xz", Reply(body=body))
        for url in (absolute, "/else/a.nar.xz", "../else/a.nar.xz", "../else/a.nar.xz?b=%2F"):
            change(cache, made.path, url=url)
            connected = await BinaryCache.connect(f"{server.url}/cache", client, keys=made.keys)
            await fetch(connected, Wanted(path=made.path))
        assert server.requests[-1].target == "/else/a.nar.xz?b=%2F"


@pytest.mark.parametrize("size", [None, 0, 7, 10**18, "that of the NAR"])
async def test_what_is_said_of_the_file_is_a_hint(
    made: Made, client: HttpClient, cache: Path, size: int | str | None
) -> None:
    narinfo = change(cache, made.path)
    said = narinfo.info.nar_size if isinstance(size, str) else size
    change(cache, made.path, file_size=said, file_hash=Hash.of(b"something else"))
    async with Server(cache) as server:
        connected = await BinaryCache.connect(server.url, client, keys=made.keys)
        offer = await Caches([connected]).offer(made.path, is_fixed_output=False)
        assert offer is not None
        assert offer.download_bytes == (7 if size == 7 else None)
        verified = await fetch(connected, Wanted(path=made.path))
        assert (verified.file_hash, verified.file_size) == (narinfo.file_hash, narinfo.file_size)


async def test_what_a_cache_said_is_not_asked_again_in_the_next_run(
    made: Made, client: HttpClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = StorePath.from_base_name("0" * 32 + "-missing")
    async with Server(made.directory / "xz") as server:
        for run_number in range(3):
            with remembering(tmp_path) as memory:
                cache = await BinaryCache.connect(server.url, client, keys=made.keys, memory=memory)
                assert await cache.lookup(missing) is None
                narinfo = await cache.lookup(made.path)
                assert narinfo is not None
                if run_number == 2:
                    # Whose signature is good is remembered, and counts while the key does.
                    monkeypatch.setattr(TrustedKeys, "verify", lambda *_: None)
                    stranger = TrustedKeys([SecretKey.generate("another").public])
                    other = await BinaryCache.connect(
                        server.url, client, keys=stranger, memory=memory
                    )
                    again = await other.lookup(made.path)
                    assert again is not None
                    assert await other.objection(again.info) is not None
                assert await cache.objection(narinfo.info) is None
        assert sum(request.path.endswith(".narinfo") for request in server.requests) == 2


async def test_a_nar_that_is_no_longer_where_it_was_is_asked_for_anew(
    made: Made, client: HttpClient, cache: Path, tmp_path: Path
) -> None:
    async with Server(cache) as server:
        with remembering(tmp_path) as memory:
            before = await BinaryCache.connect(server.url, client, keys=made.keys, memory=memory)
            narinfo = await before.lookup(made.path)
            assert narinfo is not None
        (cache / narinfo.url).rename(cache / "nar/moved")
        change(cache, made.path, url="nar/moved")
        with remembering(tmp_path) as memory:
            now = await BinaryCache.connect(server.url, client, keys=made.keys, memory=memory)
            await fetch(now, Wanted(path=made.path))
        (cache / f"{made.path.hash_part}.narinfo").unlink()
        (cache / "nar/moved").unlink()
        with remembering(tmp_path) as memory:
            gone = await BinaryCache.connect(server.url, client, keys=made.keys, memory=memory)
            with pytest.raises(NotAvailableError):
                await fetch(gone, Wanted(path=made.path))
            assert await gone.lookup(made.path) is None


async def test_what_nobody_signed_is_asked_again_in_the_next_run(
    made: Made, client: HttpClient, cache: Path, tmp_path: Path
) -> None:
    change(cache, made.source, signatures=())
    async with Server(cache) as server:
        for _ in range(2):
            with remembering(tmp_path) as memory:
                asked = await BinaryCache.connect(server.url, client, keys=made.keys, memory=memory)
                for path in (made.path, made.source):
                    offer = await Caches([asked]).offer(path, is_fixed_output=path == made.source)
                    assert offer is not None
                    assert offer.is_signed == (path == made.path)
                    assert (offer.nar_bytes is None) == (offer.download_bytes is None)
                    assert (offer.nar_bytes is None) == (path == made.source)
        assert len(server.asked(f"/{made.path.hash_part}.narinfo")) == 1
        assert len(server.asked(f"/{made.source.hash_part}.narinfo")) == 2
        with remembering(tmp_path) as memory:
            asked = await BinaryCache.connect(server.url, client, keys=made.keys, memory=memory)
            await asked.lookup(made.path)
            # What is signed is not all of it: it is not taken for true where it stops a run.
            assert Caches([asked]).forget_recalled([made.path, made.source])
            await asked.lookup(made.path)
        assert len(server.asked(f"/{made.path.hash_part}.narinfo")) == 2


@contextlib.contextmanager
def remembering(directory: Path) -> Iterator[Memory]:
    with Memory.open(directory / "home", positive_seconds=60, negative_seconds=60) as memory:
        assert memory is not None
        yield memory
