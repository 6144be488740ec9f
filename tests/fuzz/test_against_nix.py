"""Mutated inputs, and what both versions of Nix make of them.

What is accepted here, and what is written of it, Nix accepts; what is refused here, Nix refuses,
but for the few things that are named. ``PREFETCH_FUZZ_CASES=2000`` makes a long run of it,
``PREFETCH_FUZZ_SEED`` another one.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
from typing import TYPE_CHECKING

from fuzz.mutation import Mutations
from fuzz.targets import all_targets
from mirror.errors import FormatError
from mirror.formats import nar
from mirror.formats.aterm import parse_derivation
from mirror.formats.hashes import Hash
from mirror.formats.narinfo import parse_narinfo, print_narinfo
from mirror.formats.store_path import StorePath
from mirror.planning.fetchers.recognise import fixed_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from mirror.nix.command import Nix

CASES = int(os.environ.get("PREFETCH_FUZZ_CASES", "20"))
"""So many that are accepted here, and as many that are not."""
SEED = int(os.environ.get("PREFETCH_FUZZ_SEED", "1"))
NIX_READS_ON = ("not UTF-8", "about another path", "is unknown; known are")
"""Why narinfos are refused here that Nix reads: it finds out later that it cannot use them."""
SOME = StorePath.parse(f"/nix/store/{'0' * 32}-x.drv")


def mutated(
    name: str, read: Callable[[bytes], object], *, corpus: list[bytes] | None = None
) -> tuple[list[bytes], dict[bytes, str]]:
    """Inputs of a target that ``read`` accepts, and such that it refuses, each with why."""
    mutations = Mutations(target=all_targets()[name], random=random.Random(SEED), corpus=corpus)
    accepted: dict[bytes, None] = {}
    refused: dict[bytes, str] = {}
    while min(len(accepted), len(refused)) < CASES:
        data = mutations.next()
        try:
            read(data)
        except FormatError as error:
            refused[data] = error.message
        else:
            accepted[data] = None
            mutations.was_accepted(data)
    return list(accepted)[:CASES], dict(itertools.islice(refused.items(), CASES))


def said(nix: Nix, directory: Path, script: str, inputs: Mapping[str, bytes]) -> dict[str, str]:
    """What ``script`` says of each file ``$1`` that one of the inputs is in; its status first."""
    directory.mkdir()
    for name, data in inputs.items():
        (directory / name).write_bytes(data)
    loop = (
        "one() { " + script + "; }\n"
        'for file in *; do one "$file" >../out 2>../err </dev/null; echo "$file $?"; '
        "LC_ALL=C tr -dc '[:print:]' <../err; echo; done"
    )
    completed = subprocess.run(
        ["/bin/sh", "-c", loop],
        cwd=directory,
        env=dict(nix.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    lines = completed.stdout.decode().splitlines()
    verdicts = (line.split(" ") for line in lines[::2])
    found = {
        name: f"{status} {text}" for (name, status), text in zip(verdicts, lines[1::2], strict=True)
    }
    assert found.keys() == inputs.keys()
    return found


def numbered(cases: Iterable[bytes]) -> dict[str, bytes]:
    return {f"{number:05}": data for number, data in enumerate(cases)}


def test_nars_are_restored_and_dumped_again(any_nix: Nix, tmp_path: Path) -> None:
    accepted, refused = mutated("nar", nar.parse)
    restore = 'rm -rf ../tree; nix-store --restore ../tree <"$1"'
    again = f'{restore} && nix-store --dump ../tree | cmp - "$1"'
    for name, verdict in said(any_nix, tmp_path / "accepted", again, numbered(accepted)).items():
        assert verdict.startswith("0 "), (accepted[int(name)], verdict)
    if any_nix.version < (2, 34):
        return  # older ones take names that are not sorted, and read on where a length is endless
    asked = numbered(refused)
    for name, verdict in said(any_nix, tmp_path / "refused", restore, asked).items():
        assert not verdict.startswith("0 "), (asked[name], refused[asked[name]])


def test_narinfos_can_be_read_once_written_here(any_nix: Nix, tmp_path: Path) -> None:
    (original,) = all_targets()["narinfo"].corpus
    path = parse_narinfo(original).info.path

    def read(data: bytes) -> bytes:
        narinfo = parse_narinfo(data)
        if narinfo.info.path != path:
            raise FormatError("it is for another path")
        return print_narinfo(narinfo)

    accepted, refused = mutated("narinfo", read)
    script = (
        "mkdir ../cache-$1; echo 'StoreDir: /nix/store' >../cache-$1/nix-cache-info; "
        f'cp "$1" ../cache-$1/{path.hash_part}.narinfo; '
        "nix --extra-experimental-features nix-command path-info "
        f'--store "file://$PWD/../cache-$1" {path}'
    )
    written = numbered([read(data) for data in accepted])
    for name, verdict in said(any_nix, tmp_path / "accepted", script, written).items():
        assert verdict.startswith("0 "), (written[name], verdict)
    asked = {
        f"refused-{name}": data
        for name, data in numbered(refused).items()
        if not any(why in refused[data] for why in NIX_READS_ON)
    }
    for name, verdict in said(any_nix, tmp_path / "refused", script, asked).items():
        assert not verdict.startswith("0 "), (asked[name], refused[asked[name]])


def test_hashes_are_the_same(any_nix: Nix, tmp_path: Path) -> None:
    some = Hash.of(b"")
    writings = [some.sri, some.base16, some.base32, some.nix32, f"sha256:{some.base16}"]

    def read(data: bytes) -> Hash:
        return Hash.parse(data.decode(errors="surrogateescape"), "sha256")

    accepted, refused = mutated("hashes", read, corpus=[text.encode() for text in writings])
    script = 'nix-hash --type sha256 --to-base16 "$(cat "$1")" | cmp - "../want-$1"'
    for name, data in numbered(accepted).items():
        (tmp_path / f"want-{name}").write_text(f"{read(data).base16}\n")
    for name, verdict in said(any_nix, tmp_path / "accepted", script, numbered(accepted)).items():
        assert verdict.startswith("0 "), (accepted[int(name)], verdict)
    # A shell passes no zero bytes, and Nix takes what begins with a dash for an option; it does not
    # look at what follows the padding of base64.
    unlike = {b"\0"[0], b"\n"[0], b"="[0]}
    asked = {
        name: data
        for name, data in numbered(refused).items()
        if data and not data.startswith(b"-") and not unlike & set(data)
    }
    plain = 'nix-hash --type sha256 --to-base16 "$(cat "$1")"'
    for name, verdict in said(any_nix, tmp_path / "refused", plain, asked).items():
        assert not verdict.startswith("0 "), asked[name]


def test_derivations_are_read(any_nix: Nix, tmp_path: Path) -> None:
    """Nix reads one as it registers it; that its paths then are not the right ones does not matter.

    Some that are refused here Nix reads: they are not written as Nix writes them, which shows in
    their path only, since that is made of their bytes.
    """

    def read(data: bytes) -> None:
        derivation = parse_derivation(SOME, data)
        if derivation.is_fixed:
            fixed_output(derivation, lambda _: None)

    accepted, _ = mutated("derivation", read)
    script = (
        "path=/nix/store/000000000000000000000000000$1-x.drv; "
        "mkdir -p ../root/nix/store; cp $1 ../root$path; "
        f"printf '%s\\n' $path {'0' * 64} 100 '' 0 | "
        'NIX_REMOTE="local?root=$(realpath ../root)" nix-store --load-db'
    )
    found = said(any_nix, tmp_path / "accepted", script, numbered(accepted))
    assert any("correct output" in verdict for verdict in found.values())
    for name, verdict in found.items():
        for words in ("error parsing", "wrong length"):
            assert words not in verdict, (accepted[int(name)], verdict)
