"""Which incomplete paths of a cache are complete with what is made, and how that is found."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from mirror.formats.hashes import Hash
from mirror.formats.path_info import PathInfo
from mirror.formats.store_path import StorePath
from mirror.planning.completion import Completion
from mirror.planning.presence import Found, Presence, presence_of

if TYPE_CHECKING:
    from collections.abc import Sequence


def path(number: int) -> StorePath:
    return StorePath.from_base_name(f"{Hash.of(str(number).encode()).base32[:32]}-p{number}")


def found(number: int, references: Sequence[int]) -> Found:
    each = path(number)
    others = tuple(sorted({each, *map(path, references)}))
    return Found(info=PathInfo(path=each, nar_hash=Hash.of(b""), nar_size=1, references=others))


@pytest.mark.parametrize("seed", range(30))
def test_it_says_what_following_all_references_says(seed: int) -> None:
    chance = random.Random(seed)
    size = 40
    absent = {path(n) for n in range(size) if chance.random() < 0.15}
    cache = presence_of(
        {
            path(n): found(n, chance.sample(range(n), min(n, chance.randrange(4))))
            for n in range(size)
            if path(n) not in absent
        },
        absent,
    )
    made: set[StorePath] = set()
    completion = Completion(cache, made)
    for _ in range(6):
        asked = [path(n) for n in range(size)]
        chance.shuffle(asked)
        for each in asked:
            lacking = set(cache.lacking(each)) - made
            expected = each in cache.there or (each in cache.incomplete and not lacking)
            assert completion.is_complete(each) == expected
            if chance.random() < 0.05:
                made.add(chance.choice(asked))


class Counted(dict[StorePath, Any]):
    """Counts how often it is asked."""

    times = 0

    def get(self, key: StorePath, default: Any = None) -> Any:
        self.times += 1
        return super().get(key, default)


@pytest.mark.parametrize("is_made", [False, True])
def test_what_all_lack_is_looked_for_once(*, is_made: bool) -> None:
    size = 1_000
    whole = presence_of({path(n): found(n, [n - 1]) for n in range(1, size)}, {path(0)})
    held = Counted(whole.held)
    cache = Presence(held=held, incomplete=whole.incomplete)
    completion = Completion(cache, {path(0)} if is_made else set())
    for number in range(size - 1, 0, -1):
        assert completion.is_complete(path(number)) == is_made
    assert held.times < 3 * size
