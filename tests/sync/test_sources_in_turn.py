"""When a source fails the next one is asked; the report names each; nothing wrong is kept."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from rig.bench import Recorder
from rig.servers import Reply, Server

from mirror.formats.hashes import Hash
from mirror.formats.narinfo import parse_narinfo, print_narinfo
from mirror.formats.signing import SecretKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from rig.bench import Bench

    from mirror.formats.store_path import StorePath
    from mirror.nix.command import Nix
    from mirror.sync.report import Expected

CONTENT = b"what the source is " * 4096
CURL = """
derivation {{
  name = "source"; system = "x86_64-linux"; builder = "/bin/sh";
  outputHashAlgo = "sha256"; outputHash = "{hash}"; outputHashMode = "flat";
  urls = [ {urls} ]; mirrorsFile = "/none";
}}
"""


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as started:
        yield started


def write_source(bench: Bench, *urls: str, content: bytes = CONTENT) -> str:
    """A list line for a source like one of nixpkgs' fetchurl."""
    quoted = " ".join(f'"{url}"' for url in urls)
    text = CURL.format(hash=Hash.of(content).base16, urls=quoted)
    (bench.directory / "source.nix").write_text(f"{{ source = {text}; }}")
    return "source = ./source.nix#source"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(body=b"x" * len(CONTENT)), "expected sha256-"),
        (Reply(status=404), "404"),
        (Reply(body=CONTENT, cut_after=1000), "cut short"),
        pytest.param(Reply(body=CONTENT, hang=True), "timed out", marks=pytest.mark.thorough),
        (Reply(body=CONTENT, cut_after=1000, length=False), "expected sha256-"),
    ],
    ids=["wrong bytes", "404", "truncated", "hangs", "truncated without a length"],
)
async def test_a_failing_origin_is_named_and_the_next_one_asked(
    bench: Bench, nix_stable: Nix, server: Server, reply: Reply, reason: str
) -> None:
    bad, good = server.on("/bad", reply), server.on("/good", Reply(body=CONTENT))
    cache = bench.directory / "cache"
    synced = await bench.sync(
        nix_stable, write_source(bench, bad, good), cache, substituters=(), builder=False
    )
    assert synced.is_complete
    (outcome,) = [each for each in synced.outcomes if each.path.name == "source"]
    assert outcome.result == "stored"
    assert outcome.source == good
    (attempt,) = outcome.attempts
    assert attempt.source == bad
    assert reason in attempt.error


async def test_what_no_source_has_is_reported_with_every_reason(
    bench: Bench, nix_stable: Nix, server: Server
) -> None:
    wrong, missing = server.on("/wrong", Reply(body=b"wrong")), f"{server.url}/missing"
    cache = bench.directory / "cache"
    line = write_source(bench, wrong, missing)
    synced = await bench.sync(nix_stable, line, cache, builder=False)
    assert not synced.is_complete
    (outcome,) = [each for each in synced.outcomes if each.result == "failed"]
    (fixed,) = synced.plan.fetch
    assert outcome.path == fixed.path
    reasons = {each.source: each.error for each in outcome.attempts}
    assert "does not have" in reasons[bench.upstream.cache_url]
    assert "expected sha256-" in reasons[wrong]
    assert "404" in reasons[missing]
    assert "--no-builder" in reasons["builder"]
    (generation,) = synced.kept
    assert generation.missing == (fixed.path,)
    assert not list(cache.glob(f"{fixed.path.hash_part}*"))


@dataclass
class Tampered:
    """A copy of the demo's cache in which one path is not what it should be."""

    directory: Path
    path: StorePath
    hash_part: str

    @property
    def url(self) -> str:
        return f"file://{self.directory}"


async def tampered(bench: Bench, nix: Nix, name: str) -> Tampered:
    """Copy the cache; ``name`` is a package that the laptop needs."""
    copy = bench.directory / "tampered"
    shutil.copytree(bench.upstream.cache_directory, copy)
    planned = await bench.sync(nix, "DEMO#laptop", bench.directory / "whole")
    path = next(each.path for each in planned.plan.substitute if each.path.name == name)
    return Tampered(directory=copy, path=path, hash_part=path.hash_part)


def published(cache: Path) -> set[str]:
    return {each.stem for each in cache.glob("*.narinfo")}


async def test_a_nar_that_is_not_what_was_signed_is_refused_and_its_cache_with_it(
    bench: Bench, nix_stable: Nix
) -> None:
    made = await tampered(bench, nix_stable, "libio-2.0")
    narinfo = parse_narinfo((made.directory / f"{made.hash_part}.narinfo").read_bytes())
    nar = made.directory / narinfo.url
    flipped = bytearray(nar.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    nar.write_bytes(flipped)
    cache = bench.directory / "cache"
    synced = await bench.sync(nix_stable, "DEMO#laptop", cache, substituters=(made.url,))
    assert not synced.is_complete
    (outcome,) = [each for each in synced.outcomes if each.path == made.path]
    assert outcome.result == "failed"
    assert str(nar) in outcome.attempts[0].error
    refused = {each.path: each for each in synced.refused}
    assert refused[made.path].cache == made.url
    assert "expected sha256-" in refused[made.path].reason
    assert made.hash_part not in published(cache)
    # What refers to it is not there either: a reader sees complete closures only.
    held = published(cache)
    for each in synced.plan.substitute:
        if made.path in each.offer.info.references:
            assert each.path.hash_part not in held
    other = await bench.sync(nix_stable, "DEMO#laptop", cache, keep_going=True)
    assert other.is_complete
    assert made.hash_part in published(cache)


async def test_the_next_cache_gives_what_the_first_one_damaged(
    bench: Bench, nix_stable: Nix
) -> None:
    made = await tampered(bench, nix_stable, "libio-2.0")
    narinfo = parse_narinfo((made.directory / f"{made.hash_part}.narinfo").read_bytes())
    (made.directory / narinfo.url).write_bytes(b"nonsense")
    caches = (f"{made.url}?priority=1", bench.upstream.cache_url)
    synced = await bench.sync(
        nix_stable, "DEMO#laptop", bench.directory / "cache", substituters=caches
    )
    assert synced.is_complete
    (outcome,) = [each for each in synced.outcomes if each.path == made.path]
    assert outcome.source is not None
    assert outcome.source.startswith(bench.upstream.cache_url)
    assert made.url in outcome.attempts[0].source
    assert not synced.refused


async def test_what_is_refused_fails_the_targets_that_want_it_alone(
    bench: Bench, nix_stable: Nix
) -> None:
    made = await tampered(bench, nix_stable, "gettext-0.21")
    (made.directory / f"{made.hash_part}.narinfo").write_text("<html>")
    caches, cache = (f"{made.url}?priority=1",), bench.directory / "cache"
    lines = "laptop = DEMO#laptop\nledger = DEMO#ledger"
    synced = await bench.sync(nix_stable, lines, cache, substituters=caches)
    (refused,) = synced.refused
    assert (refused.path, refused.cache, refused.allowed) == (made.path, made.url, False)
    async with bench.destination(nix_stable, cache) as destination:
        records = {each.target: each for each in await destination.run_records()}
        generations = {each.target: each for each in await destination.generations()}
    assert [records[name].is_complete for name in ("laptop", "ledger")] == [False, True]
    assert generations["laptop"].missing == (made.path,)
    assert generations["laptop"].refused == records["laptop"].refused == (refused,)
    assert not generations["ledger"].missing
    assert not records["ledger"].refused
    both = (*caches, bench.upstream.cache_url)
    again = await bench.sync(nix_stable, lines, cache, substituters=both)
    assert again.is_complete
    assert not again.refused


async def test_a_cache_whose_key_is_not_trusted_gives_nothing(
    bench: Bench, nix_stable: Nix
) -> None:
    other = SecretKey.generate("somebody-1").public
    cache = bench.directory / "cache"
    synced = await bench.sync(
        nix_stable, "DEMO#laptop", cache, trusted_keys=(str(other),), builder=False
    )
    believed_by_signature = [
        each.name
        for each in cache.glob("*.narinfo")
        if parse_narinfo(each.read_bytes()).info.content_address is None
    ]
    assert believed_by_signature == []
    assert not synced.is_complete
    assert not [each for each in synced.refused if each.signers != ("demo-upstream-1",)]
    assert all("--trusted-key demo-upstream-1:" in each.hint for each in synced.refused)
    # What it has is built here instead: the plan says so.
    assert any(path.name == "compiler-3.1.drv" for path in synced.plan.build)
    assert any("signed by none of the trusted keys" in each for each in bench.recorder.notices)


async def test_a_signature_that_was_taken_from_another_path_is_refused(
    bench: Bench, nix_stable: Nix
) -> None:
    made = await tampered(bench, nix_stable, "libio-2.0")
    file = made.directory / f"{made.hash_part}.narinfo"
    narinfo = parse_narinfo(file.read_bytes())
    other = next(
        parse_narinfo(each.read_bytes())
        for each in made.directory.glob("*.narinfo")
        if each.stem != made.hash_part
    )
    forged = print_narinfo(narinfo).replace(
        narinfo.info.signatures[0].encode(), other.info.signatures[0].encode()
    )
    file.write_bytes(forged)
    cache = bench.directory / "cache"
    synced = await bench.sync(
        nix_stable, "DEMO#laptop", cache, substituters=(made.url,), builder=False
    )
    assert made.path not in {each.path for each in synced.plan.substitute}
    assert made.hash_part not in published(cache)


class AtTransfer(Recorder):
    """It takes down what a server was asked before the downloads began."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server
        self.planned_with: list[str] = []

    def transfer_begins(self, expected: Expected) -> None:
        assert expected.sizes
        assert expected.known_bytes
        self.planned_with = [each.path for each in self.server.requests]


async def test_what_the_second_cache_offers_is_not_asked_of_the_first_one_again(
    bench: Bench, nix_stable: Nix
) -> None:
    failing = {
        "libio-2.0": Reply(body=b"<html>"),
        "gettext-0.21": Reply(status=503),
        "compiler-3.1": Reply(status=404),
    }
    files = bench.upstream.cache_directory
    async with Server(files) as first, Server(files) as second:
        looked_up = {path for name in failing for path in narinfos(bench, name)}
        for name, reply in failing.items():
            for path in narinfos(bench, name):
                first.on(path, reply)
        recorder = bench.recorder = AtTransfer(first)
        synced = await bench.sync(
            nix_stable,
            "DEMO#laptop",
            bench.directory / "cache",
            substituters=(f"{first.url}?priority=1", f"{second.url}?priority=2"),
        )
        assert synced.is_complete
        before = [path for path in recorder.planned_with if path in looked_up]
        assert len(set(before)) == len(failing)
        assert [each.path for each in first.requests if each.path in looked_up] == before
        outcomes = {each.path.name: each for each in synced.outcomes}
        for name in failing:
            outcome = outcomes.pop(name)
            assert (outcome.source or "").startswith(second.url)
            assert not outcome.attempts
        # The first one is still asked for all else that it has.
        others = [each.source or "" for each in outcomes.values()]
        assert any(each.startswith(first.url) for each in others)
        assert not any(each.startswith(second.url) for each in others)


async def test_where_the_cache_that_offered_a_path_fails_the_others_are_asked_in_their_order(
    bench: Bench, nix_stable: Nix
) -> None:
    files = bench.upstream.cache_directory
    async with Server(files) as first, Server(files) as second, Server(files) as third:
        for path, nar in (offered := narinfos(bench, "libio-2.0")).items():
            first.on(path, Reply(status=404))
            second.on(f"/{nar}", Reply(body=b"nonsense"))
        caches = enumerate((first, second, third))
        synced = await bench.sync(
            nix_stable,
            "DEMO#laptop",
            bench.directory / "cache",
            substituters=tuple(f"{each.url}?priority={n}" for n, each in caches),
        )
        assert synced.is_complete
        assert not synced.refused
        (outcome,) = [each for each in synced.outcomes if each.path.name == "libio-2.0"]
        assert [each.source for each in outcome.attempts] == [second.url, first.url]
        assert [each.is_refusal for each in outcome.attempts] == [True, False]
        assert outcome.source in {f"{third.url}/{nar}" for nar in offered.values()}


def narinfos(bench: Bench, name: str) -> dict[str, str]:
    """Where the demo's cache has what is called so, for each system, with the URL of the NAR."""
    files = bench.upstream.cache_directory.glob("*.narinfo")
    every = {f"/{each.name}": parse_narinfo(each.read_bytes()) for each in files}
    return {path: each.url for path, each in every.items() if each.info.path.name == name}
