"""What is refused or damaged is said alike by every surface, and so is that nothing was.

Each fault is met by the program as its user runs it, with a cache on loopback: exit code, text,
JSON, run record and generation, then the server's page, ``status.json`` and metrics.
"""

from __future__ import annotations

import asyncio
import html
import json
import re
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest
from rig.running import run
from rig.servers import Server
from rig.serving import serve_directory
from rig.shell import shell

from mirror.destinations import CacheDirectory
from mirror.formats.narinfo import parse_narinfo
from mirror.formats.signing import SecretKey
from mirror.formats.store_path import StorePath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from rig.shell import Shell

__all__ = ["shell"]

TOOL: Final = "gettext-0.21"
ABSURD: Final = 10**18


@dataclass
class Stage:
    """A user with one target, a copy of the demo's cache to spoil, and a destination."""

    shell: Shell
    upstream: Path
    server: Server
    key: str
    options: list[str] = field(default_factory=list)

    @property
    def cache(self) -> Path:
        return self.shell.directory / "cache"

    def command(self, name: str, *words: str) -> list[str]:
        """A command; only those that may ask caches are told of some."""
        made = [*self.shell.command, name, *words, "--to", str(self.cache)]
        if name == "roots":
            return made
        made += ["hosts.txt", "--store", self.shell.store_url]
        if name in {"plan", "sync"}:
            made += ["--substituter", self.server.url, "--trusted-key", self.key]
            made += ["--no-archives", *self.options]
        return [*made, "--keep-going"] if name == "sync" else made

    async def run(self, name: str, *words: str, expect: int) -> str:
        """All that a command says, on both streams."""
        arguments = self.command(name, *words)
        completed = await asyncio.to_thread(self.shell.run, arguments, expect=expect)
        return completed.stdout if "--json" in words else completed.stdout + completed.stderr

    async def json(self, name: str, *, expect: int) -> Any:
        return json.loads(await self.run(name, "--json", expect=expect))

    def edit(self, change: Callable[[str], str], only: str | None = None) -> None:
        """Change the narinfos of the cache, or that of one path alone."""
        for file in self.upstream.glob("*.narinfo"):
            text = file.read_text()
            if only is None or f"-{only}\n" in text.partition("URL:")[0]:
                file.write_text(change(text))


@dataclass(frozen=True, kw_only=True)
class Told:
    """What each surface has to say: an exit code, how many paths were refused, and in what words.

    ``built``: something is built for want of what was refused. ``missing``: the generation lacks
    paths. ``said`` are parts of what every text says of the fault.
    """

    code: int
    is_refused: bool = False
    is_missing: bool = False
    is_allowed: bool = False
    signers: tuple[str, ...] = ()
    said: tuple[str, ...] = ()


Fault = tuple["Callable[[Stage], None]", Told]


def wrong_key(stage: Stage) -> None:
    stage.key = str(SecretKey.generate("stranger-1").public)


def wrong_key_allowed(stage: Stage) -> None:
    wrong_key(stage)
    stage.options.append("--allow-refused")


def unsigned(stage: Stage) -> None:
    stage.edit(lambda text: re.sub(r"Sig: .*\n", "", text))


def unreadable(stage: Stage) -> None:
    stage.edit(lambda _: "<html>no narinfo</html>", TOOL)


def altered(stage: Stage) -> None:
    stage.edit(lambda text: text.replace("References: ", f"References: {'0' * 32}-x "), TOOL)


def other_content(stage: Stage) -> None:
    for file in stage.upstream.glob("*.narinfo"):
        narinfo = parse_narinfo(file.read_bytes())
        if narinfo.info.path.name == TOOL:
            nar = stage.upstream / narinfo.url
            nar.write_bytes(bytes([nar.read_bytes()[0] ^ 1]) + nar.read_bytes()[1:])


def absurd_sizes(stage: Stage) -> None:
    """Unsigned sources with sizes beyond all measure; what is signed is left as it is."""

    def change(text: str) -> str:
        if "\nCA: fixed" not in text:
            return text
        text = re.sub(r"(Sig|FileSize): .*\n", "", text)
        return re.sub(r"NarSize: .*", f"NarSize: {ABSURD}", text)

    stage.edit(change)


def damaged(stage: Stage) -> None:
    """The destination has all, then one narinfo is altered, and nobody has the path any more."""
    stage.shell.run(stage.command("sync"))
    for file in stage.cache.glob("*.narinfo"):
        text = file.read_text()
        if f"-{TOOL}\n" in text.partition("URL:")[0]:
            file.write_text(text.replace("References: ", f"References: {'0' * 32}-x "))
            (stage.upstream / file.name).unlink()


FAULTS: Final[dict[str, Fault]] = {
    "wrong key": (
        wrong_key,
        Told(
            code=1,
            is_refused=True,
            is_missing=True,
            signers=("DEMO-KEY",),
            said=("signed by none of the trusted keys", "--trusted-key DEMO-KEY:"),
        ),
    ),
    "wrong key, allowed": (
        wrong_key_allowed,
        Told(
            code=0,
            is_refused=True,
            is_allowed=True,
            signers=("DEMO-KEY",),
            said=("as allowed", "signed by none of the trusted keys", "--trusted-key DEMO-KEY:"),
        ),
    ),
    "unsigned cache": (
        unsigned,
        Told(code=1, is_refused=True, is_missing=True, said=("no signature", "trusted=true")),
    ),
    "unreadable narinfo": (
        unreadable,
        Told(code=1, is_refused=True, is_missing=True, said=("not a narinfo",)),
    ),
    "altered narinfo": (
        altered,
        Told(
            code=1,
            is_refused=True,
            is_missing=True,
            signers=("DEMO-KEY",),
            said=("do not match it", "the key that is trusted as DEMO-KEY is outdated"),
        ),
    ),
    "absurd sizes": (absurd_sizes, Told(code=0)),
    "damaged narinfo": (
        damaged,
        Told(code=1, is_missing=True, said=("is damaged", ".narinfo", "prefetch verify")),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_every_surface_says_the_same(shell: Shell, name: str) -> None:
    spoil, told = FAULTS[name]
    upstream = shutil.copytree(shell.upstream.cache_directory, shell.directory / "upstream")
    async with Server(upstream) as server:
        stage = Stage(shell, upstream, server, shell.upstream.public_key)
        write_list(shell)
        await asyncio.to_thread(spoil, stage)
        signer = shell.upstream.public_key.partition(":")[0]
        check = Check(told, signer)
        plans = (stage.run("plan", expect=told.code), stage.json("plan", expect=told.code))
        text, planned = await asyncio.gather(*plans)
        check.text(text)
        check.refused(planned["refused"])
        assert bool(planned["built_for_refusals"]) == told.is_refused
        check.text(await stage.run("sync", expect=told.code))
        # By now nothing has to be built any more that only fetches a source.
        synced = await stage.json("sync", expect=told.code)
        check.refused(synced["refused"])
        assert all(each in planned["refused"] for each in synced["refused"])
        async with CacheDirectory.open(stage.cache, exclusive=False) as destination:
            (record,) = await destination.run_records()
            generation = (await destination.generations())[-1]
        assert record.is_complete == (told.code == 0)
        assert len(record.refused) == len(synced["refused"])
        assert record.refused == generation.refused
        assert bool(generation.missing) == told.is_missing
        await look_at_what_is_kept(stage, check, synced)


async def look_at_what_is_kept(stage: Stage, check: Check, synced: Any) -> None:
    """What the commands that ask nobody say, and the server."""
    told = check.told
    # What is lacking can be built of sources, which were fetched for that: but nobody asked for it.
    is_failure = int(told.is_refused and not told.is_allowed)
    text, checked, roots_text, roots = await asyncio.gather(
        stage.run("check", expect=is_failure),
        stage.json("check", expect=is_failure),
        stage.run("roots", expect=0),
        stage.json("roots", expect=0),
    )
    check.refused(roots["generations"][-1]["refused"])
    check.refused(roots["runs"][-1]["refused"])
    assert roots["runs"][-1]["complete"] == (told.code == 0)
    check.text(roots_text)
    assert ("incomplete" in roots_text) == told.is_missing
    (target,) = checked["targets"]
    check.refused(target["refused"])
    if told.is_refused:
        assert {*target["build"]} == {*synced["build"]}
        assert {*target["built_for_refusals"]} == {*synced["built_for_refusals"]}
        assert target["built_for_refusals"]
        check.text(text)
        built = len(target["built_for_refusals"])
        assert f"{len(target['build'])} derivations to build, {built} of them because" in text
    async with serve_directory(stage.cache) as served:
        page = html.unescape((await served.ask("/")).body.decode())
        status = json.loads((await served.ask("/status.json")).body)
        metrics = (await served.ask("/metrics")).body.decode()
    check.text(page)
    (host,) = status["hosts"]
    check.refused(host["last_run"]["refused"])
    check.refused(host["generations"][0]["refused"])
    assert host["last_run"]["complete"] == (told.code == 0)
    refused = len({each["path"] for each in synced["refused"]})
    missing = len(host["generations"][0]["missing"])
    assert f'prefetch_refused_paths{{target="it"}} {refused}\n' in metrics
    assert f'prefetch_missing_paths{{target="it"}} {missing}\n' in metrics
    assert f'prefetch_last_run_complete{{target="it"}} {int(told.code == 0)}\n' in metrics
    assert (f"{missing:,} path" in page and "missing" in page) == told.is_missing


@dataclass(frozen=True)
class Check:
    """Compares what surfaces say with what they have to; ``signer`` is the demo's key."""

    told: Told
    signer: str

    def text(self, text: str) -> None:
        words = " ".join(text.split())
        for said in self.told.said:
            assert said.replace("DEMO-KEY", self.signer) in words, text
        assert ("refused" in words) == self.told.is_refused, text

    def refused(self, refused: Iterable[dict[str, Any]]) -> None:
        found = list(refused)
        assert bool(found) == self.told.is_refused
        signers = [each.replace("DEMO-KEY", self.signer) for each in self.told.signers]
        for each in found:
            assert each["signers"] == signers
            assert each["allowed"] == self.told.is_allowed
            assert StorePath.parse(each["path"])


def write_list(shell: Shell) -> None:
    """A list of the laptop's derivation, which takes no evaluating any more."""
    attribute = "nixosConfigurations.laptop.config.system.build.toplevel.drvPath"
    flake = f"path:{shell.upstream.distribution}#{attribute}"
    evaluated = run(shell.nix, "nix", "eval", "--raw", flake, store=shell.evaluation)
    shell.write_list(f"it = {evaluated.stdout.strip()}")
