"""``prefetch plan`` of fifty hosts of one flake, none of which has changed.

    python -m benchmarks hosts

Each host takes Nix about a second to evaluate. The first plan evaluates them all, and the ones
measured after it find all of them as they were: that they start no evaluator is seen in a log that
a ``nix`` of our own writes.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.graphs import SETTINGS
from benchmarks.measuring import Comparison, Run, run
from benchmarks.table import Row
from mirror.nix.stores import remove_store

if TYPE_CHECKING:
    from collections.abc import Iterator

_REACH_SECONDS: Final = 10
_FLAKE: Final = """{ outputs = { self }: let
  effort = builtins.foldl' (a: b: a + b) 0 (builtins.genList (x: x) %(effort)s);
  host = n: derivation {
    name = "nixos-${toString n}"; system = "x86_64-linux"; builder = "/bin/sh";
    inherit effort; src = ./flake.nix;
  };
in {
  nixosConfigurations = builtins.listToAttrs (builtins.genList
    (n: {
      name = "host${toString n}"; value.config.system.build.toplevel = host n;
    }) %(hosts)s);
}; }
"""


def rows(hosts: int = 50, effort: int = 1_000_000, rounds: int = 3) -> Iterator[Row]:
    """Measure the row.

    Raises:
        RuntimeError: a plan with nothing new started an evaluator.

    """
    with tempfile.TemporaryDirectory(prefix="prefetch-benchmark-") as name:
        scratch = Path(name)
        flake = scratch / "flake"
        flake.mkdir()
        (flake / "flake.nix").write_text(_FLAKE % {"hosts": hosts, "effort": effort})
        listed = scratch / "hosts.txt"
        listed.write_text("".join(f"host{n} = path:flake#host{n}\n" for n in range(hosts)))
        log = scratch / "log"
        log.touch()
        programs = scratch / "bin"
        programs.mkdir()
        nix = shlex.quote(shutil.which("nix") or "nix")
        (programs / "nix").write_text(f'#!/bin/sh\necho $* >> {log}\nexec {nix} "$@"\n')
        (programs / "nix").chmod(0o755)

        def plan() -> Run:
            return run(
                [
                    *(sys.executable, "-m", "mirror", "plan", listed, "--to", scratch / "out"),
                    *("--store", f"local?root={scratch}/store"),
                ],
                environment={
                    "PATH": f"{programs}:{os.environ['PATH']}",
                    "XDG_CACHE_HOME": str(scratch / "home/cache"),
                    "XDG_STATE_HOME": str(scratch / "home/state"),
                    "NIX_CONFIG": SETTINGS,
                },
            )

        first = plan()
        log.write_text("")
        again = [plan() for _ in range(rounds)]
        if " eval " in log.read_text():
            raise RuntimeError("it evaluated what had not changed")
        remove_store(scratch / "store")
    yield Row.of(
        f"plan of {hosts} hosts that have not changed",
        "itself the first time",
        Comparison(ours=again, theirs=[first] * rounds),
        reach=f"{_REACH_SECONDS} s",
    )
