"""The mirror's own signatures: added, doubled while keys change, taken away; and Nix's view."""

from __future__ import annotations

import lzma
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rig.made_paths import Made, generation, input_addressed, put, put_as, text

from mirror.destinations.cache.directory import CacheDirectory
from mirror.destinations.cache.layout import PUBLIC_KEYS
from mirror.destinations.cache.signatures import read_public_keys
from mirror.destinations.capabilities import Signed
from mirror.destinations.records.vouched import refused_by_clients
from mirror.errors import DestinationError
from mirror.formats.narinfo import parse_narinfo
from mirror.formats.signing import SecretKey, fingerprint
from mirror.formats.verifier import Claim

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.nix.command import Nix
    from mirror.nix.stores import StoreLocation

FIRST, SECOND, UPSTREAM = (SecretKey.generate(name) for name in ("mirror-1", "mirror-2", "up-1"))
BUILT, LATER, SOURCE = input_addressed("built"), input_addressed("later"), text("source")
THEIRS = input_addressed("theirs")


async def put_theirs(cache: CacheDirectory) -> None:
    signed = replace(THEIRS.info, signatures=(UPSTREAM.sign(fingerprint(THEIRS.info)),))
    await put_as(cache, Claim(info=signed, compression="xz"), lzma.compress(THEIRS.nar))


async def fill(path: Path, *made: Made, key: SecretKey | None = None) -> None:
    async with CacheDirectory.open(path, signing_key=key) as cache:
        for each in made:
            await put(cache, each)


async def sign(path: Path, key: SecretKey, *, again: bool = False, dry_run: bool = False) -> Signed:
    async with CacheDirectory.open(path, signing_key=key) as cache:
        return cache.signatures.add(key, again=again, dry_run=dry_run)


def signers(path: Path, made: Made) -> list[str]:
    narinfo = parse_narinfo((path / f"{made.path.hash_part}.narinfo").read_bytes())
    return [signature.partition(":")[0] for signature in narinfo.info.signatures]


async def test_a_key_is_recorded_when_it_is_first_used_and_only_then(tmp_path: Path) -> None:
    await fill(tmp_path, BUILT)
    assert not (tmp_path / PUBLIC_KEYS).exists()
    for key in (FIRST, FIRST, SECOND, FIRST):
        await fill(tmp_path, LATER, key=key)
    assert read_public_keys(tmp_path) == [FIRST.public, SECOND.public]
    assert (tmp_path / PUBLIC_KEYS).read_text() == f"{FIRST.public}\n{SECOND.public}\n"


async def test_what_was_made_here_unsigned_is_signed_and_nothing_of_upstreams(
    tmp_path: Path,
) -> None:
    await fill(tmp_path, BUILT, SOURCE)
    async with CacheDirectory.open(tmp_path) as cache:
        await put_theirs(cache)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.narinfo")}
    foreseen = CacheDirectory(tmp_path).signatures.add(FIRST, again=False, dry_run=True)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.narinfo")} == before
    assert await sign(tmp_path, FIRST) == foreseen
    assert foreseen == Signed(signed=2, already=0, others=0, upstream=1)
    assert signers(tmp_path, BUILT) == signers(tmp_path, SOURCE) == ["mirror-1"]
    assert signers(tmp_path, THEIRS) == ["up-1"]
    assert await sign(tmp_path, FIRST) == Signed(signed=0, already=2, others=0, upstream=1)


async def test_a_new_key_signs_again_only_when_told_and_the_old_one_stays(tmp_path: Path) -> None:
    await fill(tmp_path, BUILT, key=FIRST)
    await fill(tmp_path, LATER)
    assert await sign(tmp_path, SECOND) == Signed(signed=1, already=0, others=1, upstream=0)
    assert signers(tmp_path, BUILT) == ["mirror-1"]
    assert await sign(tmp_path, SECOND, again=True) == Signed(
        signed=1, already=1, others=0, upstream=0
    )
    assert signers(tmp_path, BUILT) == ["mirror-1", "mirror-2"]
    assert signers(tmp_path, LATER) == ["mirror-2"]


async def test_old_signatures_go_unless_they_are_the_only_ones(tmp_path: Path) -> None:
    await fill(tmp_path, BUILT, key=FIRST)
    await sign(tmp_path, SECOND, again=True)
    await fill(tmp_path, LATER, key=FIRST)
    async with CacheDirectory.open(tmp_path) as cache:
        await put_theirs(cache)
        foreseen = cache.signatures.remove_old(dry_run=True)
        assert signers(tmp_path, BUILT) == ["mirror-1", "mirror-2"]
        removed = cache.signatures.remove_old(dry_run=False)
    assert removed == foreseen
    assert (removed.newest, removed.paths, removed.left) == (SECOND.public, 1, 1)
    assert removed.forgotten == ()
    assert signers(tmp_path, BUILT) == ["mirror-2"]
    assert signers(tmp_path, LATER) == ["mirror-1"]
    assert signers(tmp_path, THEIRS) == ["up-1"]
    await sign(tmp_path, SECOND, again=True)
    async with CacheDirectory.open(tmp_path) as cache:
        removed = cache.signatures.remove_old(dry_run=False)
    assert (removed.paths, removed.left, removed.forgotten) == (1, 0, (FIRST.public,))
    assert signers(tmp_path, LATER) == ["mirror-2"]
    assert read_public_keys(tmp_path) == [SECOND.public]


async def test_what_every_client_would_refuse_is_signed_and_keeps_that_signature(
    tmp_path: Path,
) -> None:
    """It came from a cache that is believed for its URL: no sync trusted who signed it."""
    kept = replace(generation([THEIRS]), vouched={})
    for trusted, expected in (({UPSTREAM.public: frozenset({THEIRS.path})}, 0), ({}, 1)):
        async with CacheDirectory.open(tmp_path, signing_key=FIRST) as cache:
            await put_theirs(cache)
            # Of what no manifest judges nothing is known.
            assert cache.signatures.add(
                FIRST, again=True, dry_run=True, is_refused=refused_by_clients([], ())
            ) == Signed(signed=0, already=0, others=0, upstream=1)
            is_refused = refused_by_clients([replace(kept, vouched=trusted)], [FIRST.public])
            done = cache.signatures.add(FIRST, again=False, dry_run=False, is_refused=is_refused)
        assert done == Signed(signed=expected, already=0, others=0, upstream=1 - expected)
    assert signers(tmp_path, THEIRS) == ["up-1", "mirror-1"]
    await fill(tmp_path, BUILT, key=SECOND)
    async with CacheDirectory.open(tmp_path) as cache:
        assert cache.signatures.remove_old(dry_run=False).left == 1
    assert await sign(tmp_path, SECOND) == Signed(signed=0, already=1, others=1, upstream=0)
    await sign(tmp_path, SECOND, again=True)
    async with CacheDirectory.open(tmp_path) as cache:
        assert cache.signatures.remove_old(dry_run=False).left == 0
    assert signers(tmp_path, THEIRS) == ["up-1", "mirror-2"]


async def test_a_signature_under_our_name_by_another_key_is_not_ours(tmp_path: Path) -> None:
    impostor = SecretKey.generate(FIRST.name)
    signed = replace(BUILT.info, signatures=(impostor.sign(fingerprint(BUILT.info)),))
    async with CacheDirectory.open(tmp_path, signing_key=FIRST) as cache:
        await put_as(cache, Claim(info=signed, compression="xz"), lzma.compress(BUILT.nar))
    assert await sign(tmp_path, FIRST, again=True) == Signed(
        signed=0, already=0, others=0, upstream=1
    )


async def test_a_cache_that_no_key_signed_has_no_old_signatures(tmp_path: Path) -> None:
    await fill(tmp_path, BUILT)
    async with CacheDirectory.open(tmp_path) as cache:
        assert cache.signatures.remove_old(dry_run=False).newest is None


@pytest.mark.parametrize("content", [b"nonsense\n", b"\xff\n"])
async def test_keys_that_cannot_be_read_are_named(tmp_path: Path, content: bytes) -> None:
    await fill(tmp_path, BUILT)
    (tmp_path / PUBLIC_KEYS).write_bytes(content)
    with pytest.raises(DestinationError, match=PUBLIC_KEYS):
        await sign(tmp_path, FIRST)


async def test_nix_takes_what_the_new_key_signed_and_no_key_for_what_names_its_content(
    tmp_path: Path, nix: Nix, store: StoreLocation
) -> None:
    cache = tmp_path / "cache"
    await fill(cache, BUILT, key=FIRST)
    await fill(cache, SOURCE)

    async def copies(made: Made, *keys: SecretKey) -> bool:
        trusted = " ".join(str(key.public) for key in keys)
        configuration = f"{nix.environment['NIX_CONFIG']}\ntrusted-public-keys = {trusted}\n"
        completed = await nix.run(
            ["nix", "copy", "--from", f"file://{cache}", "--to", store.url, made.path],
            environment={"NIX_CONFIG": configuration},
        )
        return completed.returncode == 0

    assert await copies(SOURCE)
    assert not await copies(BUILT, SECOND)
    await sign(cache, SECOND, again=True)
    async with CacheDirectory.open(cache) as opened:
        removed = opened.signatures.remove_old(dry_run=False)
    assert removed.forgotten == (FIRST.public,)
    assert not await copies(BUILT, FIRST)
    assert await copies(BUILT, SECOND)
