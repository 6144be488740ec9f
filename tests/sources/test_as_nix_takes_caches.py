"""What stock Nix takes of a binary cache is taken here, and what it refuses is refused.

Both versions of Nix and :class:`BinaryCache` are asked for the same paths, of the same server. What
is taken is put into a cache directory, which both versions read. ``PREFETCH_CACHE_TEXTS=50`` asks
for so many times forty narinfos.
"""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rig.cache_answers import CACHE_INFO, KEY, SERVERS, Answers, Asked, text
from rig.made_paths import put_as
from rig.narinfo_texts import Subject, Writing, writings
from rig.odd_answers import CONTENTS, INFOS, LOCATIONS, NEW, OLD, STATUSES
from rig.patience import PATIENT, Pauses
from rig.running import ScratchStore, run
from rig.servers import Server

from mirror.destinations import CacheDirectory
from mirror.destinations.closures import presence
from mirror.errors import SourceError
from mirror.formats.hashes import Hash
from mirror.formats.narinfo import parse_narinfo
from mirror.formats.signing import TrustedKeys
from mirror.sources.caches.binary_cache import BinaryCache
from mirror.sources.caches.by_priority import Caches
from mirror.sources.http.client import HttpClient
from mirror.sources.source import Wanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from mirror.nix.command import Nix

BATCHES: Final = int(os.environ.get("PREFETCH_CACHE_TEXTS", "3"))
CONFIG: Final = (
    f"trusted-public-keys = {KEY.public}",
    "fallback = true",  # else Nix ends at the first narinfo that it cannot read
    "download-attempts = 1",
    "fsync-metadata = false",
    "max-jobs = 0",
)


@pytest.fixture(scope="module")
def nixes(nix_stable: Nix, nix_newest: Nix) -> Mapping[str, Nix]:
    return {OLD: nix_stable, NEW: nix_newest}


def taken_by_nix(nix: Nix, asked: Sequence[Asked], store: ScratchStore) -> set[str]:
    """The paths that Nix substitutes."""
    caches = " ".join(dict.fromkeys(each.cache for each in asked))
    run(
        nix,
        *("nix-store", "--realise", "--keep-going", *(each.path for each in asked)),
        store=store,
        config=(*CONFIG, f"substituters = {caches}"),
        check=False,
        before=("timeout", "120"),
    )
    return valid_paths(nix, store)


def valid_paths(nix: Nix, store: ScratchStore) -> set[str]:
    return set(run(nix, "nix", "path-info", "--all", store=store).stdout.split())


async def taken_here(asked: Iterable[Asked], directory: Path) -> Mapping[str, str | None]:
    """Of each path why it is not taken here, None if it is; those are then in ``directory``."""
    found: dict[str, str | None] = {}
    client = HttpClient(PATIENT, sleep=Pauses())
    async with client, CacheDirectory.open(directory) as destination:
        for each in asked:
            try:
                found[each.path] = await refusal(each, client, destination)
            except SourceError as error:
                found[each.path] = error.message
    return found


async def refusal(asked: Asked, client: HttpClient, destination: CacheDirectory) -> str | None:
    keys = TrustedKeys([KEY.public])
    cache = await BinaryCache.connect(asked.cache, client, keys=keys)
    caches = Caches([cache])
    if await caches.offer(asked.path, is_fixed_output=False) is None:
        return "; ".join([*caches.failures.values(), *caches.refusals.values()]) or "absent"
    async with cache.open(Wanted(path=asked.path)) as nar:
        arrived = b"".join([chunk async for chunk in nar.chunks])
        await put_as(destination, nar.claim, arrived)
    return None


def read_by_both(nixes: Mapping[str, Nix], kept: Path, directory: Path) -> None:
    """See that what was taken is told as it is, and that Nix reads it."""
    narinfos = [parse_narinfo(file.read_bytes()) for file in kept.glob("*.narinfo")]
    for each in narinfos:
        file = (kept / each.url).read_bytes()
        assert each.file_size == len(file)
        assert each.file_hash == Hash.of(file)
    for version, nix in nixes.items():
        store = ScratchStore(directory / f"{version}-reads")
        paths = {each.info.path for each in narinfos}
        run(nix, "nix", "copy", "--from", kept.as_uri(), *paths, store=store, config=CONFIG)
        assert valid_paths(nix, store) == paths
        store.remove()


@pytest.mark.parametrize(
    "cases", [SERVERS, STATUSES, CONTENTS, LOCATIONS, INFOS], ids=lambda cases: cases[0].name
)
async def test_answers(nixes: Mapping[str, Nix], tmp_path: Path, cases: Sequence[Answers]) -> None:
    async with Server() as server, Server() as elsewhere:
        asked = {case: case.asked(server, elsewhere) for case in cases}
        here = await taken_here(asked.values(), tmp_path / "kept")
        batches = [[asked[case] for case in cases if not case.alone]]
        batches += [[asked[case]] for case in cases if case.alone]
        unlike = set()
        for version, nix in nixes.items():
            there = set[str]()
            for number, batch in enumerate(batches):
                store = ScratchStore(tmp_path / f"{version}-{number}")
                there |= await asyncio.to_thread(taken_by_nix, nix, batch, store)
                store.remove()
            unlike |= {
                (case.name, version)
                for case, each in asked.items()
                if (each.path in there) != (here[each.path] is None)
            }
        assert unlike == {(case.name, version) for case in cases for version in case.unlike}, here
        await asyncio.to_thread(read_by_both, nixes, tmp_path / "kept", tmp_path)


async def there_at_rest(
    files: Mapping[Asked, tuple[bytes, bytes]], directory: Path, *, is_old: bool
) -> set[str]:
    """What ``check`` says Nix gets of a directory whose narinfos and NARs became these."""
    async with CacheDirectory.open(directory) as cache:
        for asked in files:
            (directory / f"{asked.hash_part}.narinfo").write_bytes(text(asked.lines()))
        cache._checksums.record()
        for asked, (narinfo, nar) in files.items():
            (directory / f"{asked.hash_part}.narinfo").write_bytes(narinfo)
            (directory / f"nar/{asked.hash_part}.nar").write_bytes(nar)
        cache.look_as(trusted_keys=[str(KEY.public)], is_old_nix=is_old)
        return set((await presence(cache, [asked.path for asked in files])).there)


@settings(
    max_examples=BATCHES,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(batch=st.lists(writings(), min_size=40, max_size=40))
def test_narinfos(
    nixes: Mapping[str, Nix], tmp_path_factory: pytest.TempPathFactory, batch: list[Writing]
) -> None:
    asyncio.run(compare(nixes, batch, tmp_path_factory.mktemp("narinfos")))


async def compare(nixes: Mapping[str, Nix], batch: Sequence[Writing], directory: Path) -> None:
    async with Server() as server, Server() as elsewhere:
        ask = partial(Asked, cache=f"{server.url}/cache", server=server, elsewhere=elsewhere)
        common = ask(name="common")
        common.on("nix-cache-info", CACHE_INFO)
        common.has()
        asked: dict[Asked, Writing] = {}
        files = {common: (text(common.lines()), common.nar)}
        for number, writing in enumerate(batch):
            one = ask(name=f"text-{number}")
            one.references = writing.refers_to(one.path, common.path)
            narinfo = writing.text(Subject(one, writing.method, common.path))
            files[one] = narinfo, one.packed(writing.method)
            one.says(narinfo)
            one.gives(one.packed(writing.method))
            asked[one] = writing
        here = await taken_here(files, directory / "kept")
        for version, nix in nixes.items():
            store = ScratchStore(directory / version)
            these = [each for each in asked if version not in asked[each].crashes]
            there = await asyncio.to_thread(taken_by_nix, nix, [common, *these], store)
            store.remove()
            at_rest = await there_at_rest(
                files, directory / f"{version}-at-rest", is_old=version == OLD
            )
            assert common.path in there
            for each in asked.keys() - set(these):
                assert here[each.path] is not None, asked[each]
                assert each.path not in at_rest, (version, asked[each])
            for each in these:
                judge(asked[each], version, each.path in there, here[each.path])
                if asked[each].has_location_at_rest:
                    assert (each.path in at_rest) == (each.path in there), (version, asked[each])
        await asyncio.to_thread(read_by_both, nixes, directory / "kept", directory)


def judge(writing: Writing, version: str, is_taken: bool, why: str | None) -> None:
    """See that Nix and we decide alike of a narinfo, which we refuse for ``why``, save for this."""
    if version == OLD:
        is_excepted = is_taken and writing.is_detected
    else:
        is_excepted = not is_taken and writing.has_malformed_signature
    assert is_taken == (why is None) or is_excepted, (version, is_taken, why, writing)
