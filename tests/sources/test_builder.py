from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rig.running import ScratchStore, run

from mirror.demo.busybox import find_busybox
from mirror.errors import NotAvailableError, SourceError
from mirror.formats import aterm
from mirror.formats.hashes import Hash
from mirror.formats.store_path import StorePath
from mirror.formats.verifier import NarVerifier
from mirror.nix.settings import NixSettings, read_settings
from mirror.nix.stores import StoreLocation
from mirror.planning.fetchers.fixed_outputs import FixedOutput, Unfetchable
from mirror.planning.fetchers.recognise import fixed_output
from mirror.sources.origins.builder import Builder
from mirror.sources.source import Wanted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mirror.nix.command import Nix

EXPRESSION = """
{ hash, mode, text }: derivation {
  name = "built"; system = builtins.currentSystem; builder = "/bin/sh";
  args = [ "-c" "echo ${text} > $out" ];
  outputHash = hash; outputHashAlgo = "sha256"; outputHashMode = mode;
}
"""


class Rig:
    def __init__(self, nix: Nix, directory: Path) -> None:
        self.nix = nix
        self.store = ScratchStore(directory / "store")
        self.location = StoreLocation.parse(self.store.url)
        self.file = directory / "built.nix"
        self.file.write_text(EXPRESSION)
        # A copy here, which each version of Nix can see.
        shell = directory / "sh"
        shutil.copy(asyncio.run(find_busybox(nix)), shell)
        self.options = {
            "substituters": "",
            "sandbox": "true",
            "sandbox-paths": f"/bin/sh={shell}",
        }
        self.settings = asyncio.run(read_settings(nix))

    def fixed(self, content: str, mode: str = "flat", text: str = "hello") -> FixedOutput:
        """A derivation that writes ``text``, and should have written ``content``."""
        expected = Hash.of(f"{content}\n".encode())
        arguments = {"hash": expected.base16, "mode": mode, "text": text}
        options = [word for pair in arguments.items() for word in ("--argstr", *pair)]
        made = run(self.nix, "nix-instantiate", str(self.file), *options, store=self.store)
        path = StorePath.parse(made.stdout.strip())
        data = self.location.real(path).read_bytes()
        return fixed_output(aterm.parse_derivation(path, data), lambda _: None)

    def builder(self, *, enabled: bool = True, settings: NixSettings | None = None) -> Builder:
        return Builder(
            self.nix,
            self.location,
            settings or self.settings,
            options=self.options,
            enabled=enabled,
        )


@pytest.fixture
def rig(any_nix: Nix, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(any_nix, tmp_path)
    yield rig
    rig.store.remove()


async def fetch(builder: Builder, fixed: FixedOutput) -> StorePath:
    async with builder.open(Wanted(path=fixed.path, fixed_output=fixed)) as opened:
        verifier = NarVerifier(opened.claim)
        async for chunk in opened.chunks:
            for _ in verifier.feed(chunk):
                pass
        return verifier.finish().info.path


async def test_a_fixed_output_is_built_and_offered(rig: Rig) -> None:
    fixed = await asyncio.to_thread(rig.fixed, "hello")
    assert await fetch(rig.builder(), fixed) == fixed.path


async def test_a_builder_that_makes_something_else_has_failed(rig: Rig) -> None:
    fixed = await asyncio.to_thread(rig.fixed, "something else")
    with pytest.raises(SourceError, match="hash mismatch"):
        await fetch(rig.builder(), fixed)


async def test_what_this_machine_cannot_run_is_not_started(rig: Rig) -> None:
    fixed = replace(await asyncio.to_thread(rig.fixed, "hello"), system="riscv128-plan9")
    with pytest.raises(NotAvailableError, match="builder is for riscv128-plan9"):
        await fetch(rig.builder(), fixed)
    more = replace(rig.settings, extra_platforms=("riscv128-plan9",))
    assert rig.builder(settings=more).refusal(fixed) is None
    assert rig.builder().refusal(replace(fixed, system="builtin")) is None


async def test_a_builder_that_is_switched_off_says_so(rig: Rig) -> None:
    fixed = await asyncio.to_thread(rig.fixed, "hello")
    with pytest.raises(NotAvailableError, match="--no-builder"):
        await fetch(rig.builder(enabled=False), fixed)


async def test_what_nothing_can_fetch_is_not_built_either(rig: Rig) -> None:
    fixed = await asyncio.to_thread(rig.fixed, "hello")
    required = replace(fixed, origin=Unfetchable(reason="get it yourself"))
    with pytest.raises(NotAvailableError, match="get it yourself"):
        await fetch(rig.builder(), required)
    with pytest.raises(NotAvailableError, match="not a fixed output"):
        async with rig.builder().open(Wanted(path=fixed.derivation)):
            pass
