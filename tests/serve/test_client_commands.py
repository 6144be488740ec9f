"""The commands and lines of the status page, taken literally, on empty stores that trust stock."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
from dataclasses import replace
from html import unescape
from typing import TYPE_CHECKING

import pytest
from rig.made_paths import chain, generation, input_addressed, put, put_as
from rig.running import run
from rig.serving import serve_directory, serve_store

from mirror.destinations import CacheDirectory
from mirror.destinations.records.generation import MANIFEST
from mirror.formats.signing import PublicKey, SecretKey, fingerprint
from mirror.formats.verifier import Claim
from mirror.nix.stores import StoreLocation
from mirror.planning.vouching import STOCK_KEY, vouching
from mirror.serve.status.client_setup import Client
from mirror.sync.kept.clients import vouching_of
from mirror.sync.offline.check import check

if TYPE_CHECKING:
    from pathlib import Path

    from rig.bench import Bench
    from rig.made_paths import Made
    from rig.running import ScratchStore
    from rig.serving import Served

    from mirror.errors import DestinationError
    from mirror.nix.command import Nix

LINES = """
laptop = DEMO#laptop edits=hosts,user
ledger = DEMO#ledger level=sources
hello = DEMO#hello level=runtime
"""
STOCK = ("substituters =", f"trusted-public-keys = {STOCK_KEY}")
UP, OTHER, MIRROR = (SecretKey.generate(name) for name in ("up-1", "other-1", "mirror-1"))


def literally(nix: Nix, command: str, client: ScratchStore) -> subprocess.CompletedProcess[str]:
    """Paste a command into a shell of a machine whose store is empty and trusts stock's key."""
    settings = "\n".join((nix.environment["NIX_CONFIG"], *STOCK))
    return subprocess.run(
        ["sh", "-c", command],
        env={**nix.environment, "NIX_REMOTE": client.url, "NIX_CONFIG": settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def built(said: str) -> set[str]:
    return set(re.findall(r"^building '(/nix/store/[^']+\.drv)'", said, re.MULTILINE))


async def told(served: Served) -> dict[str, str]:
    """By host the command that a client is told, which page and document have alike."""
    page = (await served.ask("/")).body.decode()
    document = json.loads((await served.ask("/status.json")).body)
    shown = {}
    for host in page.split("<li><details")[1:]:
        name = re.search("<b>(.*?)</b>", host)
        command = re.search("<pre>(nix-store .*?)</pre>", host, re.DOTALL)
        assert name is not None
        assert command is not None
        shown[unescape(name[1])] = unescape(command[1])
    assert shown == {host["name"]: host["client"]["command"] for host in document["hosts"]}
    return shown


async def test_the_command_of_each_host_builds_exactly_what_check_said(
    bench: Bench, any_nix: Nix
) -> None:
    cache = bench.directory / "cache"
    await bench.sync(any_nix, LINES, cache)
    async with bench.destination(any_nix, cache) as destination:
        checked = await check(
            bench.targets(LINES),
            any_nix,
            bench.recorder,
            store=bench.evaluation.url,
            destination=destination,
        )
    expected = {
        each.target.name: set(each.readiness.build)
        for each in checked
        if each.edit is None and each.readiness is not None and each.is_ready
    }
    async with serve_directory(cache) as served:
        commands = await told(served)
        assert commands.keys() == expected.keys() == {"laptop", "ledger", "hello"}
        for name, command in commands.items():
            client = bench.empty_store(name)
            done = await asyncio.to_thread(literally, any_nix, command, client)
            assert done.returncode == 0, done.stderr
            assert built(done.stderr) == expected[name], name
            assert client.real(done.stdout.split()[0]).exists()
    assert len(expected["laptop"]) > 10
    assert expected["hello"] == set()


async def test_what_no_client_takes_is_said_and_signing_mends_it(
    bench: Bench, any_nix: Nix
) -> None:
    """A cache that is believed for its URL alone: nobody else can believe what came from it."""
    cache = bench.directory / "cache"
    trusting = (f"{bench.upstream.cache_url}?trusted=true",)
    synced = await bench.sync(
        any_nix, "hello = DEMO#hello level=runtime", cache, substituters=trusting, trusted_keys=()
    )
    refused = synced.vouching["hello"].refused
    assert refused
    assert set(refused.values()) == {("demo-upstream-1",)}
    client = bench.empty_store("client")
    async with serve_directory(cache) as served:
        (command,) = (await told(served)).values()
        (host,) = json.loads((await served.ask("/status.json")).body)["hosts"]
        assert host["client"]["refused"] == sorted(refused)
        page = (await served.ask("/")).body.decode()
        assert f"prefetch sign --to {cache}" in page
        assert (await asyncio.to_thread(literally, any_nix, command, client)).returncode != 0
        async with CacheDirectory.open(cache, signing_key=MIRROR) as signing:
            assert await signing.sign(list(refused))
        (command,) = (await told(served)).values()
        assert str(MIRROR.public) in command
        done = await asyncio.to_thread(literally, any_nix, command, client)
        assert done.returncode == 0, done.stderr


async def test_a_client_of_a_served_store_trusts_the_servers_key_alone(
    bench: Bench, any_nix: Nix
) -> None:
    kept, client = bench.empty_store("kept"), bench.empty_store("client")
    await bench.sync(any_nix, "laptop = DEMO#laptop", kept, build=True)
    store = StoreLocation.parse(kept.url)
    async with serve_store(any_nix, store) as unsigned:
        (host,) = json.loads((await unsigned.ask("/status.json")).body)["hosts"]
        assert host["client"]["keys"] == [bench.upstream.public_key]
        assert host["client"]["refused"], "what was built here"
        assert "prefetch serve --store" in (await unsigned.ask("/")).body.decode()
    async with serve_store(any_nix, store, signing_key=MIRROR) as served:
        (host,) = json.loads((await served.ask("/status.json")).body)["hosts"]
        assert host["client"]["refused"] == []
        assert host["client"]["keys"] == [str(MIRROR.public)]
        (command,) = (await told(served)).values()
        done = await asyncio.to_thread(literally, any_nix, command, client)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("is_store", [False, True])
async def test_a_manifest_of_an_earlier_version_is_renewed_by_the_next_sync(
    bench: Bench, nix_stable: Nix, is_store: bool
) -> None:
    """It says the same, so it stays the same generation."""
    to = bench.empty_store("kept") if is_store else bench.directory / "cache"
    lines = "hello = DEMO#hello level=runtime"
    (first,) = (await bench.sync(nix_stable, lines, to)).kept
    assert first.vouched is not None
    assert list(map(str, first.vouched)) == [bench.upstream.public_key]
    async with bench.destination(nix_stable, to) as destination:
        await destination.keep(replace(first, vouched=None, outputs=()))
    again = await bench.sync(nix_stable, lines, to)
    assert (again.kept, again.unchanged) == ((), (first,))
    assert not again.is_news
    async with bench.destination(nix_stable, to) as destination:
        assert await destination.generations() == [first]


def signed(made: Made, *keys: SecretKey) -> Made:
    signatures = tuple(key.sign(fingerprint(made.info)) for key in keys)
    return replace(made, info=replace(made.info, signatures=signatures))


@pytest.fixture
async def two_hosts(tmp_path: Path) -> Path:
    """One is of up-1 and other-1, the other of other-1 and stock alone."""
    texts = chain(2)
    by_up, by_other, unsigned = (
        signed(input_addressed("one"), UP),
        signed(input_addressed("two"), OTHER),
        input_addressed("three"),
    )
    async with CacheDirectory.open(tmp_path / "cache") as cache:
        for made in (*texts, by_up, by_other, unsigned):
            await put_as(cache, Claim(info=made.info), made.nar)
        for name, others in (("a", (by_up, by_other, unsigned)), ("b", (by_other,))):
            kept = generation([*texts, *others], target=name)
            vouched = {
                key.public: frozenset(each.path for each in others if each is of)
                for key, of in ((UP, by_up), (OTHER, by_other))
                if of in others
            }
            await cache.keep(replace(kept, root=texts[1].path, vouched=vouched))
    return tmp_path / "cache"


async def test_each_host_has_its_own_keys_and_the_lines_have_all(two_hosts: Path) -> None:
    async with serve_directory(two_hosts) as served:
        document = json.loads((await served.ask("/status.json")).body)
        a, b = (host["client"] for host in document["hosts"])
        assert a["keys"] == sorted([str(UP.public), str(OTHER.public)])
        assert a["refused"] == [input_addressed("three").path]
        assert (b["keys"], b["refused"]) == ([str(OTHER.public)], [])
        assert str(UP.public) not in b["command"]
        assert set(document["client"]["keys"]) == set(a["keys"])
        page = (await served.ask("/")).body.decode()
        assert page.count("complete, clients refuse 1 path<") == 1
        metrics = (await served.ask("/metrics")).body.decode()
        assert 'prefetch_refused_by_clients{target="a"} 1\n' in metrics
        for lines in (document["client"]["nix_conf"], document["client"]["nixos"]):
            assert all(key in lines for key in a["keys"])
        assert served.log == []


async def test_what_no_client_is_given_is_not_what_clients_refuse(two_hosts: Path) -> None:
    one, three = (input_addressed(name).path for name in ("one", "three"))
    async with CacheDirectory.open(two_hosts) as cache:
        for each in await cache.generations():
            private = (one, three) if each.target == "a" else ()
            await cache.keep(replace(each, private=private))
        generations = await cache.generations()
        unreadable: list[DestinationError] = []
        told = await vouching_of(generations, cache, unreadable.append)
    assert (told["a"].client_keys(), told["a"].refused) == ((OTHER.public,), {})
    async with serve_directory(two_hosts) as served:
        document = json.loads((await served.ask("/status.json")).body)
        client = document["hosts"][0]["client"]
        assert (client["keys"], client["refused"]) == ([str(OTHER.public)], [])


async def test_a_manifest_of_an_earlier_version_is_judged_by_the_keys_that_others_record(
    two_hosts: Path,
) -> None:
    async with CacheDirectory.open(two_hosts) as cache:
        for each in await cache.generations():
            if each.target == "a":
                await cache.keep(replace(each, vouched=None))
    assert b"vouched" not in (two_hosts / "generations/a/1.json").read_bytes()
    async with serve_directory(two_hosts) as served:
        document = json.loads((await served.ask("/status.json")).body)
        client = document["hosts"][0]["client"]
        assert client["keys"] == [str(OTHER.public)]
        refused = sorted(each.path for each in map(input_addressed, ("one", "three")))
        assert client["refused"] == refused
        page = (await served.ask("/")).body.decode()
        assert "did not record whose signatures it trusted" in page
        assert "This signs it" not in page


def test_a_manifest_says_in_few_bytes_who_vouched() -> None:
    links = chain(50)
    kept = generation(links)
    plain = len(MANIFEST.render(kept))
    vouched = {UP.public: frozenset(kept.paths[:-3]), OTHER.public: frozenset(kept.paths[1:9:2])}
    recorded = replace(kept, vouched=vouched, outputs=kept.paths[:2])
    written = MANIFEST.render(recorded)
    assert MANIFEST.parse(written) == recorded
    assert len(written) < plain + 500
    for nonsense in (b'"0-50', b'"7-3', b'"x'):
        with pytest.raises(ValueError, match="not a manifest"):
            MANIFEST.parse(written.replace(b'"0-46', nonsense).partition(b',\n "digest"')[0] + b"}")


def test_as_few_keys_as_are_enough_and_none_where_stock_vouches() -> None:
    one, two, three = map(input_addressed, ("one", "two", "three"))
    stock = SecretKey.generate(STOCK_KEY.name)
    by_name = signed(three, stock)
    infos = [signed(one, UP, OTHER).info, signed(two, OTHER, MIRROR).info, by_name.info]
    found = vouching(infos, [key.public for key in (UP, OTHER, MIRROR)])
    assert found.client_keys() == (OTHER.public,)
    assert found.refused == {three.path: (STOCK_KEY.name,)}, "the name alone is nothing"
    both = vouching([signed(one, UP, MIRROR).info], [UP.public, MIRROR.public])
    assert both.client_keys(preferred=[MIRROR.public]) == (MIRROR.public,)
    assert vouching([], []).client_keys() == ()


async def test_what_a_key_signed_before_is_not_believed_once_its_signature_is_gone(
    tmp_path: Path,
) -> None:
    made = input_addressed("made")
    recorded = {UP.public: {made.path}}
    assert vouching([made.info], [], recorded).refused == {made.path: ()}
    assert vouching([signed(made, UP).info], [], recorded).refused == {}
    async with CacheDirectory.open(tmp_path / "cache", signing_key=MIRROR) as cache:
        await put(cache, made)
        assert await cache.sign([made.path])
        (info,) = (await cache.held([made.path])).values()
        assert len(info.signatures) == 1, "it had the signature"


def test_what_is_pasted_is_quoted() -> None:
    root = input_addressed("what?now=1").path
    key = "it's-1:YWJj"
    client = Client(url="http://[::1]:8080", public_keys=(key, 'a"${b}\\c:YWJj'), priority=1)
    words = shlex.split(client.command([root], [key]).replace("\\\n", ""))
    assert words[:3] == ["nix-store", "--realise", root]
    assert words[words.index("extra-trusted-public-keys") + 1] == key
    assert words[words.index("extra-substituters") + 1] == "http://[::1]:8080"
    assert r'"a\"\${b}\\c:YWJj"' in client.nixos_module


def test_a_key_that_nix_conf_cannot_have_spoils_no_other() -> None:
    client = Client(url="http://pi", public_keys=("a#b-1:YWJj", "c-1:YWJj"), priority=1)
    lines = client.nix_conf.splitlines()
    assert lines[1] == "extra-trusted-public-keys = c-1:YWJj"
    assert [line for line in lines if "#" in line] == [lines[-1]]
    assert "a#b-1:YWJj" in client.command([input_addressed("x").path], client.keys)


def test_nix_reads_the_lines_of_the_module(nix_stable: Nix) -> None:
    keys = ('a"${b}\\c-1:YWJj', "$plain-1:YWJj")
    client = Client(url="http://[::1]:8080", public_keys=keys, priority=1)
    text = f"{{ {client.nixos_module} }}"
    shown = run(nix_stable, "nix-instantiate", "--eval", "--strict", "--json", "-E", text)
    settings = json.loads(shown.stdout)["nix"]["settings"]
    assert settings["trusted-public-keys"] == list(keys)
    assert settings["substituters"] == [client.url]


def test_stocks_key_is_the_one_that_nix_is_shipped_with(nix_stable: Nix) -> None:
    config = nix_stable.environment["NIX_CONFIG"]
    assert "trusted-public-keys" not in config
    shown = json.loads(run(nix_stable, "nix", "show-config", "--json").stdout)
    assert list(map(PublicKey.parse, shown["trusted-public-keys"]["value"])) == [STOCK_KEY]
