"""The worker protocol, spoken with real daemons."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import FormatError, ToolError
from mirror.formats import nar
from mirror.formats.content_address import text_path
from mirror.formats.hashes import Hash
from mirror.formats.path_info import PathInfo
from mirror.formats.store_path import StorePath
from mirror.nix.protocol import wire
from mirror.nix.protocol.daemon import DaemonError, connect
from mirror.nix.stores import StoreLocation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mirror.nix.command import Nix

ABSENT = StorePath.parse("/nix/store/00000000000000000000000000000000-absent")


@pytest.fixture
def store(tmp_path: Path) -> StoreLocation:
    return StoreLocation.parse(f"local?root={tmp_path}/store")


def a_text(name: str, content: bytes, *references: StorePath) -> tuple[PathInfo, bytes]:
    data = b"".join(nar.serialize(nar.Regular.of(content)))
    digest = Hash.of(content)
    info = PathInfo(
        path=text_path(name, hash=digest, references=references),
        nar_hash=Hash.of(data),
        nar_size=len(data),
        references=tuple(sorted(references)),
        content_address=f"text:{digest.nix32}",
    )
    return info, data


async def in_pieces(data: bytes, size: int = 1 << 18) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def test_the_greeting_tells_the_version(any_nix: Nix, store: StoreLocation) -> None:
    async with connect(any_nix, store) as connection:
        assert connection.nix_version == any_nix.version_text
        assert (1, 32) <= connection.version <= (1, 37)
        assert connection.trusted in {True, None}


async def test_what_was_imported_is_valid_and_known(any_nix: Nix, store: StoreLocation) -> None:
    first, first_nar = a_text("first", b"x" * 3_000_000)
    second, second_nar = a_text("second", b"", first.path)
    signed = replace(second, signatures=("a-key:AAAA", "b-key:BBBB"), deriver=ABSENT)
    async with connect(any_nix, store) as connection:
        assert await connection.query_path_info(first.path) is None
        assert await connection.query_valid_paths([]) == set()
        await connection.add_to_store_nar(first, in_pieces(first_nar))
        await connection.add_to_store_nar(signed, in_pieces(second_nar, 1), check_signatures=False)
        paths = [first.path, ABSENT, second.path]
        assert await connection.query_valid_paths(paths) == {first.path, second.path}
        assert await connection.query_path_infos(paths) == {first.path: first, second.path: signed}
    told = await any_nix.run(["nix", "path-info", "--store", store.url, "--json", second.path])
    document = json.loads(told.stdout)
    entry = document[0] if isinstance(document, list) else document[second.path]
    assert entry["ca"] == second.content_address
    assert entry["references"] == [first.path]


async def test_refusals_are_in_the_daemons_words_and_the_connection_goes_on(
    any_nix: Nix, store: StoreLocation
) -> None:
    small, small_nar = a_text("small", b"small")
    large, large_nar = a_text("large", b"x" * 5_000_000)
    async with connect(any_nix, store) as connection:
        for info, data, words in [
            (replace(small, nar_hash=large.nar_hash), small_nar, "hash mismatch"),
            (replace(large, nar_hash=small.nar_hash), large_nar, "hash mismatch"),
            (replace(small, nar_size=1), small_nar, "size mismatch"),
            (replace(large, content_address=None), large_nar, "signature"),
            (large, large_nar[: len(large_nar) // 2], "reached end"),
            (large, b"no NAR at all" * 100_000, "archive"),
        ]:
            with pytest.raises(DaemonError, match=words):
                await connection.add_to_store_nar(info, in_pieces(data))
        with pytest.raises(DaemonError, match="absent"):
            await connection.add_to_store_nar(
                replace(small, references=(ABSENT,), content_address=None),
                in_pieces(small_nar),
                check_signatures=False,
            )
        await connection.add_to_store_nar(small, in_pieces(small_nar))
        assert await connection.query_valid_paths([small.path]) == {small.path}


async def test_tasks_share_a_connection(any_nix: Nix, store: StoreLocation) -> None:
    texts = [a_text(f"text-{number}", b"x" * number * 1_000) for number in range(50)]
    async with connect(any_nix, store) as connection:
        async with asyncio.TaskGroup() as tasks:
            for info, data in texts:
                tasks.create_task(connection.add_to_store_nar(info, in_pieces(data)))
                tasks.create_task(connection.query_path_info(info.path))
                tasks.create_task(connection.add_temp_roots([info.path]))
        infos = await connection.query_path_infos([info.path for info, _ in texts] * 20)
        assert infos == {info.path: info for info, _ in texts}


async def test_an_interrupted_import_ends_the_connections_use(
    any_nix: Nix, store: StoreLocation
) -> None:
    info, data = a_text("half", b"x" * 1_000_000)
    started = asyncio.Event()

    async def never_ending() -> AsyncIterator[bytes]:
        yield data[:500_000]
        started.set()
        await asyncio.Event().wait()

    async with connect(any_nix, store) as connection:
        importing = asyncio.create_task(connection.add_to_store_nar(info, never_ending()))
        await started.wait()
        importing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await importing
        with pytest.raises(ToolError, match="lost"):
            await connection.query_valid_paths([info.path])
    async with connect(any_nix, store) as connection:
        assert not await connection.query_valid_paths([info.path])


async def test_temporary_roots_last_as_long_as_the_connection(
    any_nix: Nix, store: StoreLocation
) -> None:
    info, data = a_text("brief", b"brief")
    async with connect(any_nix, store) as connection:
        await connection.add_temp_roots([info.path])
        await connection.add_to_store_nar(info, in_pieces(data))
        await any_nix.run(["nix-store", "--store", store.url, "--gc"])
        assert await connection.query_valid_paths([info.path])
    await any_nix.run(["nix-store", "--store", store.url, "--gc"])
    async with connect(any_nix, store) as connection:
        assert not await connection.query_valid_paths([info.path])


async def test_a_daemon_that_is_not_there_is_said_to_be_so(any_nix: Nix, tmp_path: Path) -> None:
    store = StoreLocation.parse(f"unix://{tmp_path}/socket")
    with pytest.raises(ToolError, match=r"no Nix daemon answers at .*/socket") as caught:
        async with connect(any_nix, store):
            pass
    assert caught.value.hint


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not a Nix daemon"),
        (wire.integer(wire.SERVER_HELLO) + wire.integer(0x10B), "version 1.11"),
        (wire.integer(wire.SERVER_HELLO) + wire.integer(0x201), "version 2.1"),
    ],
)
async def test_what_is_no_daemon_is_recognised(
    nix_stable: Nix, tmp_path: Path, answer: bytes, problem: str
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(answer)
        await writer.drain()
        writer.close()

    path = tmp_path / "socket"
    async with await asyncio.start_unix_server(serve, path):
        with pytest.raises(ToolError, match=problem):
            async with connect(nix_stable, StoreLocation.parse(f"unix://{path}")):
                pass


GREETING = b"".join(
    [
        *map(wire.integer, (wire.SERVER_HELLO, 0x122)),
        wire.string("2.8.0"),
        wire.integer(wire.Frame.LAST),
    ]
)


async def test_paths_that_are_none_are_not_taken_from_a_daemon(
    nix_stable: Nix, tmp_path: Path
) -> None:
    """A name such as ``..`` would lead out of the store."""
    outside = f"/nix/store/{'0' * 32}-.."
    last = wire.integer(wire.Frame.LAST)
    info = b"".join(
        [
            *(last, wire.integer(1), wire.string(outside), wire.string("00" * 32)),
            *map(wire.integer, (0, 0, 1, 0, 0, 0)),
        ]
    )

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING + last + wire.strings([outside, ABSENT]) + info)
        await reader.read()
        writer.close()

    path = tmp_path / "socket"
    async with (
        await asyncio.start_unix_server(serve, path),
        connect(nix_stable, StoreLocation.parse(f"unix://{path}")) as connection,
    ):
        assert await connection.query_valid_paths([ABSENT]) == {ABSENT}
        with pytest.raises(ToolError, match="invalid answer from the Nix daemon: not a store path"):
            await connection.query_path_info(ABSENT)


@given(st.lists(st.binary().map(lambda data: data.decode(errors="surrogateescape"))))
def test_strings_are_read_as_they_were_written(texts: list[str]) -> None:
    data = wire.strings(texts) + wire.integer(7)
    decoder = wire.Decoder(data)
    assert decoder.strings() == texts
    assert decoder.integer() == 7
    assert decoder.position == len(data)
    for end in range(len(data)):
        shorter = wire.Decoder(data[:end])
        with pytest.raises(wire.NeedMoreError):
            shorter.strings(), shorter.integer()


FRAMES = {
    "log line": wire.integer(wire.Frame.NEXT) + wire.string("building"),
    "start of an activity": b"".join(
        [
            *map(wire.integer, (wire.Frame.START_ACTIVITY, 1, 3, 105)),
            wire.string("copying"),
            *map(wire.integer, (2, 0, 42, 1)),
            wire.string("a field"),
            wire.integer(0),
        ]
    ),
    "result": b"".join(map(wire.integer, (wire.Frame.RESULT, 1, 105, 2, 0, 5, 0, 6))),
    "end of an activity": wire.integer(wire.Frame.STOP_ACTIVITY) + wire.integer(1),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_log_frames_are_passed_over(kind: str) -> None:
    data = FRAMES[kind] + wire.integer(wire.Frame.LAST)
    decoder = wire.Decoder(data)
    assert wire.log_frame(decoder) == ""
    assert wire.log_frame(decoder) is None
    assert decoder.position == len(data)


def test_an_error_frame_gives_its_message() -> None:
    data = b"".join(
        [
            wire.integer(wire.Frame.ERROR),
            wire.string("Error"),
            wire.integer(0),
            *map(wire.string, ("Error", "it failed")),
            *map(wire.integer, (0, 1, 0)),
            wire.string("while trying"),
        ]
    )
    decoder = wire.Decoder(data)
    assert wire.log_frame(decoder) == "it failed"
    assert decoder.position == len(data)


@pytest.mark.parametrize(
    "data", [wire.integer(wire.Frame.READ), wire.integer(wire.Frame.NEXT) + wire.integer(1 << 40)]
)
def test_what_is_out_of_step_is_an_error(data: bytes) -> None:
    with pytest.raises(FormatError, match="worker protocol"):
        wire.log_frame(wire.Decoder(data))
