"""Store paths made up for tests: small texts, content-addressed, so that any Nix takes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mirror.destinations.destination import Ready
from mirror.destinations.records.generation import Generation
from mirror.formats import nar
from mirror.formats.content_address import text_path
from mirror.formats.hashes import Hash
from mirror.formats.path_info import PathInfo
from mirror.formats.store_path import StorePath
from mirror.formats.verifier import Claim, NarVerifier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.destinations.destination import Destination


@dataclass(frozen=True)
class Made:
    info: PathInfo
    nar: bytes

    @property
    def path(self) -> StorePath:
        return self.info.path


def text(name: str, *references: Made, content: bytes | None = None) -> Made:
    content = name.encode() if content is None else content
    content += b"".join(b"\n" + made.path.encode() for made in references)
    digest = Hash.of(content)
    data = b"".join(nar.serialize(nar.Regular.of(content)))
    paths = tuple(sorted(made.path for made in references))
    info = PathInfo(
        path=text_path(name, hash=digest, references=paths),
        nar_hash=Hash.of(data),
        nar_size=len(data),
        references=paths,
        content_address=f"text:{digest.nix32}",
    )
    return Made(info, data)


def input_addressed(name: str, *, refers_to_itself: bool = False) -> Made:
    path = StorePath.from_base_name(f"{Hash.of(name.encode()).base32[:32]}-{name}")
    data = b"".join(nar.serialize(nar.Regular.of(path.encode())))
    info = PathInfo(
        path=path,
        nar_hash=Hash.of(data),
        nar_size=len(data),
        references=(path,) if refers_to_itself else (),
    )
    return Made(info, data)


def chain(length: int, name: str = "link") -> list[Made]:
    """Texts of which each refers to the one before it."""
    links = [text(f"{name}-0")]
    for number in range(1, length):
        links.append(text(f"{name}-{number}", links[-1]))
    return links


async def put(destination: Destination, made: Made) -> None:
    """Stage, verify and commit, as for a path that was made here."""
    await put_as(destination, Claim(info=made.info, made_here=True), made.nar)


async def put_as(destination: Destination, claim: Claim, arriving: bytes) -> None:
    verifier = NarVerifier(claim)
    async with destination.stage(claim) as staging:
        for piece in verifier.feed(arriving):
            if staging.keeps == "nar":
                staging.write(piece)
        if staging.keeps == "compressed":
            staging.write(arriving)
        await destination.commit([Ready(staging, verifier.finish())])


def generation(paths: Iterable[Made], *, target: str = "pi", number: int = 1) -> Generation:
    everything = tuple(sorted(paths, key=lambda made: made.path))
    return Generation(
        target=target,
        number=number,
        installable=".#pi",
        level="rebuild",
        root=everything[0].path,
        created=datetime(2026, 11, 22, 12, 30, tzinfo=UTC),
        paths=tuple(made.path for made in everything),
        nar_bytes=sum(made.info.nar_size for made in everything),
    )


def numbered(first: Generation, number: int) -> Generation:
    return replace(first, number=number)
