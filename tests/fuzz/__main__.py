"""Fuzz for as long as one likes: ``make fuzz SECONDS=600``, or with ``TARGETS="nar narinfo"``.

With atheris (``make fuzz`` installs it, where there is one for this Python) libFuzzer chooses the
inputs by the code that they reach, without it they are plain mutations. What is found is in
``.fuzz/``, in a file that ``--input`` tries again; so are the inputs that reached something new,
from which the next run goes on.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fuzz.mutation import Finding, run
from fuzz.target import CORPUS
from fuzz.targets import all_targets

if TYPE_CHECKING:
    from fuzz.target import Target

_KEPT: Final = Path(".fuzz")
_SECONDS_EACH: Final = 10
"""The longest that one input may take."""
_MEMORY: Final = 1024
"""The most that a target may take, in MiB."""


def main() -> int:
    """Fuzz the targets that are named, or all; 1 if anything was found."""
    targets = all_targets()
    parser = argparse.ArgumentParser(prog="python -m fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", choices=[[], *targets])
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--input", type=Path, help="try the bytes of this file only")
    arguments = parser.parse_args()
    names = arguments.targets or list(targets)
    if arguments.input is not None:
        return _tried_again([targets[name] for name in names], arguments.input.read_bytes())
    is_guided = importlib.util.find_spec("atheris") is not None
    print(f"{'guided by coverage' if is_guided else 'mutations'}, {arguments.seconds:.0f} s each")
    found = 0
    for name in names:
        started = time.monotonic()
        figures = (_guided if is_guided else _mutated)(targets[name], arguments.seconds)
        print(f"{name:13} {figures} ({time.monotonic() - started:.0f} s)", flush=True)
        found += "FOUND" in figures
    return min(found, 1)


def _tried_again(targets: list[Target], data: bytes) -> int:
    for target in targets:
        with target.checking() as check:
            print(f"{target.name}: {'accepted' if target.accepts(check, data) else 'refused'}")
    return 0


def _mutated(target: Target, seconds: float) -> str:
    try:
        with target.checking() as check:
            figures = run(target, check, seed=random.randrange(1 << 32), seconds=seconds)
    except Finding as finding:
        file = _place(target) / f"found-{time.time_ns()}"
        file.write_bytes(finding.data)
        return f"FOUND {finding.__cause__!r}: {file}"
    return f"{figures.executions:,} executions, {figures.accepted:,} accepted"


def _guided(target: Target, seconds: float) -> str:
    place = _place(target)
    grown = place / "corpus"
    grown.mkdir(exist_ok=True)
    words = place / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words if word))
    with tempfile.TemporaryDirectory() as scratch:
        completed = subprocess.run(
            [
                *(sys.executable, "-m", "fuzz.guided", target.name),
                *(str(grown), str(CORPUS / target.name)),
                *((f"-dict={words}",) if target.words else ()),
                *(f"-max_total_time={seconds:.0f}", f"-max_len={target.longest}"),
                *(f"-timeout={_SECONDS_EACH}", f"-rss_limit_mb={_MEMORY}"),
                *(f"-artifact_prefix={place}/", "-print_final_stats=1"),
            ],
            env={**os.environ, "TMPDIR": scratch},
            capture_output=True,
            check=False,
        )
    said = completed.stderr.decode(errors="replace")
    (place / "log").write_text(completed.stdout.decode(errors="replace") + said)
    executions, memory = (
        re.search(rf"stat::{name}:\s+(\d+)", said)
        for name in ("number_of_executed_units", "peak_rss_mb")
    )
    if completed.returncode != 0 or executions is None or memory is None:
        return f"FOUND something, or it did not run: {place}/log"
    covered = re.findall(r"cov: (\d+)", said)[-1]
    return f"{int(executions[1]):>11,} executions, {covered:>5} edges, {memory[1]:>4} MiB at most"


def _place(target: Target) -> Path:
    """Where what is found is kept."""
    place = _KEPT / target.name
    place.mkdir(parents=True, exist_ok=True)
    return place


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main())
