"""Narinfos that are kept in memory are given only while their files are the same."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from mirror.serve.http.answers import InMemory
from mirror.serve.library import narinfos
from mirror.serve.library.narinfos import Narinfos

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HASH_PART = "0" * 32
TEXT = b"StorePath: /nix/store/x\nURL: nar/a.nar\nFileSize: 1\n"
OTHER = TEXT.replace(b"a.nar", b"b.nar")


def content(found: narinfos.GivenNarinfo | None) -> bytes | None:
    if found is None:
        return None
    assert isinstance(found.answer.body, InMemory)
    return found.answer.body.data


def keep(kept: Narinfos, hash_part: str = HASH_PART) -> None:
    """Ask until it is kept, which it is once its file has not changed for a moment."""
    while (found := kept.find(hash_part)) is None or found is not kept.find(hash_part):
        time.sleep(0.01)


def replace(file: Path) -> None:
    new = file.with_name("new")
    new.write_bytes(OTHER)
    new.rename(file)


def write_over(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(OTHER)


def write_over_and_hide_it(file: Path) -> None:
    before = file.stat()
    write_over(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def put_a_link(file: Path) -> None:
    elsewhere = file.with_name("elsewhere")
    file.rename(elsewhere)
    file.symlink_to(elsewhere)


@pytest.mark.parametrize(
    ("change", "then"),
    [
        (replace, OTHER),
        (write_over, OTHER),
        (write_over_and_hide_it, OTHER),
        (lambda file: file.write_bytes(b""), b""),
        (lambda file: file.unlink(), None),
        (put_a_link, None),
    ],
    ids=["replaced", "in place", "its time put back", "emptied", "removed", "a link"],
)
def test_what_is_kept_is_what_is_there(
    tmp_path: Path, change: Callable[[Path], object], then: bytes | None
) -> None:
    file = tmp_path / f"{HASH_PART}.narinfo"
    file.write_bytes(TEXT)
    kept = Narinfos(tmp_path)
    keep(kept)
    assert content(kept.find(HASH_PART)) == TEXT
    change(file)
    for _ in range(2):
        assert content(kept.find(HASH_PART)) == then
    file.unlink(missing_ok=True)
    file.write_bytes(TEXT)
    assert content(kept.find(HASH_PART)) == TEXT


def test_what_changes_again_and_again_is_seen_each_time(tmp_path: Path) -> None:
    """Also within one tick of the file system's clock, and at the same length."""
    file = tmp_path / f"{HASH_PART}.narinfo"
    kept = Narinfos(tmp_path)
    for number in range(300):
        text = TEXT + b"Number: %04d\n" % number
        file.write_bytes(text)
        assert content(kept.find(HASH_PART)) == text


def test_only_so_much_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narinfos, "_KEPT_BYTES", 10 * len(TEXT))
    parts = [f"{number:032}" for number in range(50)]
    for part in parts:
        (tmp_path / f"{part}.narinfo").write_bytes(TEXT)
    kept = Narinfos(tmp_path)
    keep(kept, parts[-1])
    for _ in range(3):
        for part in parts:
            assert content(kept.find(part)) == TEXT
            assert len(kept._kept) <= 11


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (TEXT, ("a.nar", 1)),
        (b"URL: nar/a.nar\n", ("a.nar", None)),
        (b"URL: other/a.nar\n", (None, None)),
        (b"URL: nar/..\n", (None, None)),
        (b"URL: nar/a/b\n", (None, None)),
        (b"URL: nar/\xff\n", (None, None)),
        (b"URL: nar/a.nar\nFileSize: " + b"9" * 5000 + b"\n", (None, None)),
        (b"", (None, None)),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_the_file_that_a_narinfo_names(
    tmp_path: Path, text: bytes, named: tuple[str | None, int | None]
) -> None:
    (tmp_path / f"{HASH_PART}.narinfo").write_bytes(text)
    found = Narinfos(tmp_path).find(HASH_PART)
    assert found is not None
    assert (found.nar, found.nar_size) == named
