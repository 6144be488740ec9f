"""What ``check`` says of a path whose narinfo was altered is what becomes of it by real Nix.

There are three ends: Nix takes the path from the cache, goes on as if the cache had none and builds
it, or fails. Any bit of a narinfo is altered, and signatures are as odd as they can be.
``PREFETCH_BITS=1000`` alters as many bits.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Final

from rig.bench import Recorder
from rig.running import ScratchStore, run

from mirror.demo.busybox import find_busybox
from mirror.destinations import CacheDirectory
from mirror.formats.signing import SecretKey
from mirror.planning.lists.list_file import parse_list
from mirror.sync.offline.check import judge
from mirror.sync.prepare import evaluate_offline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mirror.nix.command import Nix

BITS: Final = int(os.environ.get("PREFETCH_BITS", "20"))
KEY: Final = SecretKey.generate("altered-1")
PATHS: Final = """
  let
    made = number: derivation {
      name = "made-${toString number}";
      system = builtins.currentSystem;
      builder = "${PROGRAMS}/sh";
      args = [ "-c" "echo ${common} ${toString number} > $out" ];
    };
    common = builtins.toFile "common" "common";
  in
  builtins.genList made COUNT
"""

SIGNATURES: Final = (
    # GOOD is the right one's base64, SHORT lacks its first characters.
    ("no signature",),
    ("altered-1GOOD",),
    ("altered-1",),
    ("altered-1GOOD", "altered-1:GOOD"),
    ("",),
    (":GOOD", "altered-1:GOOD"),
    ("altered-1:",),
    ("other-1:", "altered-1:GOOD"),
    ("other-1:*SHORT", "altered-1:GOOD"),
    ("other-1:SHORT",),
    ("other-1:AAAAGOOD", "altered-1:GOOD"),
    ("altered-1:*SHORT",),
    ("altered-1:*SHORT", "altered-1:GOOD"),
    ("altered-1:SHORT",),
    ("altered-1:SHORT", "altered-1:GOOD"),
    ("altered-1:AAAASHORT",),
    ("altered-1:AA=ASHORT",),
    ("other-1:AA=ASHORT",),
    ("altered-1:UNPADDED",),
    ("altered-1:UNPADDED=*",),
    ("altered-1:UNPADDED*=",),
    ("altered-1:GOODAAAA",),
    ("altered-1:LEFTOVER",),
    ("altered-1:GOOD ",),
    ("altered-1: GOOD",),
    (" altered-1:GOOD",),
    ("\udcff:GOOD",),
    ("altered-1:\udcffSHORT",),
    ("altered-1:GOOD\r",),
    ("altered-1:GOOD\0",),
)
DASHES: Final = tuple(
    (line, byte) for line in ("StorePath: ", "References: ", "Deriver: ") for byte in b")\xad/"
)
"""What comes in the place of the dash of the first path of a line."""
_BASE64: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def with_signatures(narinfo: str, signatures: Sequence[str]) -> str:
    """The narinfo with other signatures than its own."""
    lines = [line for line in narinfo.splitlines() if not line.startswith("Sig: ")]
    (good,) = (line.split(":")[2] for line in narinfo.splitlines() if line.startswith("Sig: "))
    last = _BASE64.index(good[85])
    forms = {
        "GOOD": good,
        "SHORT": good[4:],
        "UNPADDED": good[:86],
        "LEFTOVER": f"{good[:85]}{_BASE64[last ^ 1]}==",
    }
    for text in signatures:
        if text == "no signature":
            continue
        for name, form in forms.items():
            text = text.replace(name, form)  # noqa: PLW2901 - it becomes what it stands for
        lines.append(f"Sig: {text}")
    return "".join(f"{line}\n" for line in lines)


def ends_by_nix(
    nix: Nix, derivations: Sequence[str], cache: Path, client: ScratchStore
) -> Mapping[str, str]:
    """What becomes of the paths that they make: ``taken``, ``built`` or ``failed``."""
    config = (
        "substitute = true",
        f"substituters = file://{cache}",
        f"trusted-public-keys = {KEY.public}",
        "download-attempts = 1",
    )
    ends = {}
    for each in derivations:
        # One at a time: a narinfo that cannot be read ends it for all.
        done = run(nix, "nix-store", "--realise", each, store=client, config=config, check=False)
        is_built = f"building '{each}'" in done.stderr
        ends[each] = "failed" if done.returncode else "built" if is_built else "taken"
    return ends


async def ends_by_check(
    nix: Nix, derivations: Sequence[str], cache: Path, store: ScratchStore
) -> Mapping[str, str]:
    """The same, as ``check`` says it."""
    text = "\n".join(f"{number} = {each}" for number, each in enumerate(derivations))
    targets = parse_list(text, file="test.txt", directory=cache, shipped_edits={})
    evaluation = await evaluate_offline(targets, nix, Recorder(), store=store.url)
    async with CacheDirectory.open(cache, exclusive=False, reads_contents=True) as destination:
        checked = await judge(evaluation, destination)
    ends = {}
    for each in checked:
        assert each.root is not None
        assert each.readiness is not None
        is_built = each.root in each.readiness.build
        ends[str(each.root)] = "failed" if not each.is_ready else "built" if is_built else "taken"
    return ends


async def test_a_path_ends_as_by_nix(
    any_nix: Nix, tmp_path: Path, scratch_store: ScratchStore
) -> None:
    cache, client = tmp_path / "cache", ScratchStore(tmp_path / "client")
    key, programs = tmp_path / "key", tmp_path / "programs"
    key.write_text(str(KEY))
    programs.mkdir()
    shutil.copy(await find_busybox(any_nix), programs / "sh")

    def nix(*command: str) -> list[str]:
        return run(any_nix, *command, store=scratch_store).stdout.split()

    count = len(SIGNATURES) + len(DASHES) + BITS
    expression = PATHS.replace("PROGRAMS", str(programs)).replace("COUNT", str(count))
    derivations = nix("nix-instantiate", "--expr", expression)
    outputs = nix("nix-store", "--realise", *derivations)
    to = f"file://{cache}?secret-key={key}&compression=zstd"
    nix("nix", "copy", "--to", to, *outputs)
    nix("nix", "copy", "--derivation", "--to", to, *derivations)
    nix("nix", "copy", "--derivation", "--no-check-sigs", "--to", client.url, *derivations)
    async with CacheDirectory.open(cache) as destination:
        destination._checksums.record()

    random = Random(BITS)
    altered = {}
    for number, (derivation, output) in enumerate(zip(derivations, outputs, strict=True)):
        file = cache / f"{output.removeprefix('/nix/store/')[:32]}.narinfo"
        data = bytearray(file.read_bytes())
        if number < len(SIGNATURES):
            text = with_signatures(data.decode(), SIGNATURES[number])
            data = bytearray(text.encode(errors="surrogateescape"))
        elif number < len(SIGNATURES) + len(DASHES):
            line, byte = DASHES[number - len(SIGNATURES)]
            data[data.index(b"-", data.index(line.encode()))] = byte
        else:
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        file.write_bytes(data)
        altered[derivation] = bytes(data)

    config = f"{any_nix.environment['NIX_CONFIG']}\ntrusted-public-keys = {KEY.public}"
    trusting = replace(any_nix, environment={**any_nix.environment, "NIX_CONFIG": config})
    here = await ends_by_check(trusting, derivations, cache, scratch_store)
    there = await asyncio.to_thread(ends_by_nix, any_nix, derivations, cache, client)
    client.remove()
    unlike = {each: there[each] for each in derivations if here[each] != there[each]}
    assert not unlike, [(here[each], there[each], altered[each]) for each in unlike]
    assert set(there.values()) == {"taken", "built", "failed"}
