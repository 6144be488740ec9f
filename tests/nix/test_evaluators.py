"""How many evaluators run at once, and what becomes of one that runs out of memory."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from typing import TYPE_CHECKING

import pytest

from mirror.errors import EvaluationError
from mirror.nix.evaluation.evaluators import EvaluatorBounds, Evaluators
from mirror.system.available import available_memory

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.nix.command import Nix

LARGE = "builtins.length (builtins.genList (x: x) 40000000)"
SMALL = "1 + 1"
TOO_LITTLE = 200_000_000


async def test_one_that_runs_out_of_memory_is_tried_again_without_a_limit(any_nix: Nix) -> None:
    begun: list[str] = []
    evaluators = Evaluators(2, memory=TOO_LITTLE, begun=begun.append)

    async def evaluate(expression: str) -> bytes:
        command = ["nix", "eval", "--expr", expression]
        completed = await evaluators.run(any_nix, command, name=expression)
        assert completed.returncode == 0, completed.stderr
        return completed.stdout.strip()

    found = await asyncio.gather(*map(evaluate, [LARGE, SMALL, SMALL, LARGE]))
    assert found == [b"40000000", b"2", b"2", b"40000000"]
    assert begun == [LARGE, SMALL, SMALL, LARGE]


@pytest.mark.parametrize("end", ["kill -KILL $$", "kill -ABRT $$", "exit 134", "say; exit 1"])
async def test_one_that_has_too_little_memory_alone_is_an_error(
    nix_stable: Nix, tmp_path: Path, end: str
) -> None:
    program = tmp_path / "nix"
    log = tmp_path / "log"
    said = "say() { echo 'error: out of memory' >&2; }"
    program.write_text(f"#!/bin/sh\n{said}\nulimit -d >> {log}\n{end}\n")
    program.chmod(0o755)
    nix = dataclasses.replace(nix_stable, program=str(program))
    with pytest.raises(EvaluationError, match="pi: there is not enough memory"):
        await Evaluators(2, memory=1 << 30).run(nix, ["nix", "eval"], name="pi")
    limited, alone = log.read_text().split()
    assert int(limited) == 1 << 20
    assert alone == "unlimited"


async def test_one_that_is_tried_again_is_alone(nix_stable: Nix, tmp_path: Path) -> None:
    running = tmp_path / "running"
    running.mkdir()
    program = tmp_path / "nix"
    program.write_text(
        "#!/bin/sh\n"
        f"touch {running}/$$; sleep 0.2; echo $(ls {running} | wc -l)\n"
        f"rm {running}/$$\n"
        'case "$*:$(ulimit -d)" in *large:unlimited) ;; *large:*) kill -KILL $$ ;; esac\n'
    )
    program.chmod(0o755)
    nix = dataclasses.replace(nix_stable, program=str(program))
    evaluators = Evaluators(3, memory=1 << 30)

    async def beside(which: str) -> int:
        completed = await evaluators.run(nix, ["nix", which], name=which)
        return int(completed.stdout)

    words = ["large", "small", "small", "large", "small", "small", "large"]
    found = await asyncio.gather(*map(beside, words))
    assert max(found) > 1
    assert [count for word, count in zip(words, found, strict=True) if word == "large"] == [1, 1, 1]


def test_as_many_as_there_are_processors_and_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    place = "mirror.nix.evaluation.evaluators.available_memory"
    for available, memory, limit in [
        (3 << 30, None, 3),
        (3 << 30, 2 << 30, 1),
        (0, None, 1),
        (99 << 30, None, 8),
        (None, None, 8),
    ]:
        monkeypatch.setattr(place, lambda found=available: found)
        assert EvaluatorBounds(memory=memory).limit() == limit
    assert EvaluatorBounds(at_once=5).limit() == 5


def test_memory_is_what_the_machine_and_its_groups_leave(tmp_path: Path) -> None:
    processes, groups = tmp_path / "proc", tmp_path / "cgroup"

    def write(file: Path, text: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    assert available_memory(processes, groups) is None
    write(processes / "meminfo", "MemTotal: 99 kB\nMemAvailable:   4000 kB\n")
    write(processes / "self/cgroup", "0::/system.slice/a.service\n")
    assert available_memory(processes, groups) == 4_096_000
    inner = groups / "system.slice/a.service"
    write(inner / "memory.max", "max\n")
    write(groups / "system.slice/memory.max", "3000000\n")
    write(groups / "system.slice/memory.current", "1500000\n")
    write(groups / "system.slice/memory.stat", "anon 1\ninactive_file 500000\n")
    assert available_memory(processes, groups) == 2_000_000
    write(inner / "memory.max", "100\n")
    write(inner / "memory.current", "101\n")
    write(inner / "memory.stat", "anon 1\n")
    assert available_memory(processes, groups) == 0
    write(processes / "self/cgroup", "9:cpu:/\n4:memory:/job\n0::/\n")
    write(groups / "memory/job/memory.limit_in_bytes", "2000000")
    write(groups / "memory/job/memory.usage_in_bytes", "1000000")
    write(groups / "memory/job/memory.stat", "total_inactive_file 1000\n")
    assert available_memory(processes, groups) == 1_001_000
