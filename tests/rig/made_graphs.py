"""Derivations and answers made up for tests of decisions, which read no file."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from mirror.formats.derivation import Derivation, Output
from mirror.formats.hashes import Hash
from mirror.formats.path_info import PathInfo
from mirror.formats.store_path import StorePath
from mirror.planning.availability import Availability, Offer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SOME_HASH = Hash.of(b"some content")


def store_path(name: str) -> StorePath:
    return StorePath(f"/nix/store/{Hash.of(name.encode()).base32[:32]}-{name}")


def package(
    name: str,
    inputs: Iterable[Derivation] = (),
    *,
    outputs: Iterable[str] = ("out",),
    sources: Iterable[StorePath] = (),
    attributes: Mapping[str, str] = MappingProxyType({}),
) -> Derivation:
    return Derivation(
        path=store_path(f"{name}.drv"),
        outputs={
            output: Output(store_path(name if output == "out" else f"{name}-{output}"))
            for output in outputs
        },
        input_derivations={each.path: tuple(each.outputs) for each in inputs},
        input_sources=tuple(sources),
        system="x86_64-linux",
        builder="/bin/sh",
        arguments=(),
        environment=attributes,
    )


def source(name: str, inputs: Iterable[Derivation] = (), **environment: str) -> Derivation:
    return Derivation(
        path=store_path(f"{name}.drv"),
        outputs={"out": Output(store_path(name), "sha256", SOME_HASH.base16)},
        input_derivations={each.path: ("out",) for each in inputs},
        input_sources=(),
        system="x86_64-linux",
        builder="builtin:fetchurl" if environment.get("url") else "/bin/sh",
        arguments=(),
        environment=environment,
    )


def info(path: StorePath, references: Iterable[StorePath] = ()) -> PathInfo:
    return PathInfo(path=path, nar_hash=SOME_HASH, nar_size=1, references=tuple(references))


def offer(path: StorePath, references: Iterable[StorePath] = ()) -> Availability:
    return Availability(
        offer=Offer(source="https://cache", info=info(path, references), download_bytes=1)
    )


def out(derivation: Derivation) -> StorePath:
    path = derivation.outputs["out"].path
    assert path is not None
    return path
