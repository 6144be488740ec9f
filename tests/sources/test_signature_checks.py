from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mirror.formats.hashes import Hash
from mirror.formats.path_info import PathInfo
from mirror.formats.signing import PublicKey, SecretKey, TrustedKeys, fingerprint
from mirror.formats.store_path import StorePath
from mirror.sources.caches.signature_checks import SignatureChecks

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = SecretKey.generate("here-1")
OTHER = SecretKey.generate("here-1")


def infos(count: int) -> list[PathInfo]:
    """Paths signed in turn by the key, by another of its name, for another path, and by none."""
    made = []
    for number in range(count):
        path = StorePath.parse(f"/nix/store/{number:032d}-made")
        info = PathInfo(path=path, nar_hash=Hash.of(path.encode()), nar_size=100 + number)
        elsewhere = replace(info, nar_size=1)
        signatures: Sequence[tuple[str, ...]] = (
            (KEY.sign(fingerprint(info)),),
            (OTHER.sign(fingerprint(info)),),
            (KEY.sign(fingerprint(elsewhere)),),
            (),
        )
        made.append(replace(info, signatures=signatures[number % 4]))
    return made


async def test_each_of_many_gets_the_answer_about_itself() -> None:
    checks = SignatureChecks(TrustedKeys([KEY.public]))
    asked = infos(400)
    # Some ask while the signatures of those before them are checked.
    answers = await asyncio.gather(*map(checks.signer, asked), *map(checks.signer, reversed(asked)))
    expected = [KEY.public if number % 4 == 0 else None for number in range(400)]
    assert answers == expected + expected[::-1]
    assert await checks.signer(asked[0]) == KEY.public


async def test_one_that_is_cancelled_takes_nobody_elses_answer_away() -> None:
    checks = SignatureChecks(TrustedKeys([KEY.public]))
    signed = infos(1)[0]
    first = asyncio.create_task(checks.signer(signed))
    second = asyncio.create_task(checks.signer(signed))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == KEY.public
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_an_error_reaches_whoever_waits() -> None:
    checks = SignatureChecks(TrustedKeys([PublicKey("here-1", b"too short")]))
    signed = infos(1)[0]
    answers = await asyncio.gather(
        checks.signer(signed), checks.signer(signed), return_exceptions=True
    )
    assert all(isinstance(each, ValueError) for each in answers)
    with pytest.raises(ValueError, match="32 bytes"):
        await checks.signer(signed)
