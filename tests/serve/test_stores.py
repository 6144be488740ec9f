"""Serving a Nix store: NARs packed on the way, for real Nix and for whoever asks by hash."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rig.running import run
from rig.serving import serve_store

from mirror.destinations import NixStore, RunRecord
from mirror.formats.narinfo import parse_narinfo
from mirror.formats.signing import SecretKey, TrustedKeys
from mirror.nix.stores import StoreLocation

if TYPE_CHECKING:
    from rig.bench import Bench

    from mirror.nix.command import Nix


async def test_a_client_builds_from_a_served_store(bench: Bench, any_nix: Nix) -> None:
    """What upstream signed has its signature, what was built here that of the mirror's key."""
    kept, client = bench.empty_store("kept"), bench.empty_store("client")
    synced = await bench.sync(any_nix, "DEMO#laptop level=sources", kept, build=True)
    generation = synced.kept[0]
    key = SecretKey.generate("mirror-1")
    store = StoreLocation.parse(kept.url)
    async with serve_store(any_nix, store, signing_key=key) as served:
        status = json.loads((await served.ask("/status.json")).body)
        assert [host["name"] for host in status["hosts"]] == ["laptop"]
        assert status["public_keys"] == [str(key.public)]
        given = [each for each in generation.paths if each not in (generation.private or ())]
        for path in given[:20]:
            entry = parse_narinfo((await served.ask(f"/{path.hash_part}.narinfo")).body)
            assert TrustedKeys([key.public]).verify(entry.info) == key.public
            reply = await served.ask(f"/{entry.url}")
            assert len(reply.body) == entry.file_size == int(reply.headers["Content-Length"])
            part = await served.ask(f"/{entry.url}", Range="bytes=10-29")
            assert (part.status, part.body) == (206, reply.body[10:30])
        for path, digest in generation.sources.items():
            reply = await served.ask(f"/{digest.algorithm}/{digest.base16}")
            assert reply.body == kept.real(path).read_bytes()
        system = await asyncio.to_thread(
            run,
            any_nix,
            *("nix-store", "--realise", generation.root),
            store=client,
            config=(f"substituters = {served.url}", f"trusted-public-keys = {key.public}"),
        )
        assert client.real(system.stdout.split()[0]).exists()
        assert served.log == []


async def test_what_the_store_does_not_have_is_not_there(bench: Bench, any_nix: Nix) -> None:
    store = bench.empty_store("empty")
    run(any_nix, "nix", "path-info", "--all", store=store)
    async with serve_store(any_nix, StoreLocation.parse(store.url)) as served:
        missing = "0" * 32
        assert (await served.ask(f"/{missing}.narinfo")).status == 404
        assert (await served.ask(f"/nar/{missing}-{'0' * 52}.nar")).status == 404
        assert (await served.ask("/nar/other.nar")).status == 404
        assert (await served.ask("/nix-cache-info")).status == 200


async def test_what_a_run_came_to_is_told_at_once(bench: Bench, any_nix: Nix) -> None:
    location = StoreLocation.parse(bench.empty_store("store").url)
    async with serve_store(any_nix, location) as served:
        assert json.loads((await served.ask("/status.json")).body)["hosts"] == []
        async with NixStore.open(any_nix, location, exclusive=False) as store:
            await store.record_run(
                RunRecord(target="pi", finished=datetime.now(UTC), number=None, is_complete=False)
            )
        (host,) = json.loads((await served.ask("/status.json")).body)["hosts"]
        assert host["name"] == "pi"
        assert not host["last_run"]["complete"]


async def test_files_that_are_gone_end_the_connection(bench: Bench, any_nix: Nix) -> None:
    """The store still says that it has the path: what is announced is never given in part."""
    store = bench.empty_store("store")
    file = bench.directory / "large"
    file.write_bytes(b"x" * 2_000_000)
    path = run(any_nix, "nix-store", "--add", str(file), store=store).stdout.strip()
    async with serve_store(any_nix, StoreLocation.parse(store.url), all_paths=True) as served:
        hash_part = path.removeprefix("/nix/store/")[:32]
        entry = parse_narinfo((await served.ask(f"/{hash_part}.narinfo")).body)
        store.real(path).chmod(0o644)
        store.real(path).write_bytes(b"x" * 1_000)
        said = await served.say(
            f"GET /{entry.url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
    assert f"Content-Length: {entry.file_size}".encode() in said
    assert len(said) < 100_000
    assert len(served.log) == 1
    assert "cut off" in served.log[0]
