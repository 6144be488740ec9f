"""The project's NixOS module, evaluated: what it makes of a configuration, and its units as text.

NixOS itself is there for ``tests/real`` only. ``tests/house/nixos_options.nix`` declares those of
its options that the module sets, with their types, and ``tests/house/module_system.nix`` evaluates
both. Where ``PREFETCH_NIXPKGS_LIB`` names a checkout's ``lib`` directory, all of it is done a
second time with nixpkgs' own module system.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rig.nixes import PROJECT
from rig.running import run

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from mirror.nix.command import Nix
    from rig.running import ScratchStore

HOUSE: Final = PROJECT / "tests/house"

_EXPRESSION: Final = """
let
  lib = import LIB;
  package = name: {
    type = "derivation";
    inherit name;
    outPath = "/usr/local";
    meta.mainProgram = name;
  };
  evaluated = lib.evalModules {
    specialArgs.pkgs = { gitMinimal = package "git"; openssh = package "openssh"; };
    modules = [
      MODULE
      OPTIONS
      {
        nix.package = package "nix";
        services.prefetch.package = lib.mkDefault (package "prefetch");
      }
      ({ config, lib, ... }: CONFIGURATION)
    ];
  };
in removeAttrs evaluated.config [ "nix" ]
"""


def libraries() -> dict[str, Path]:
    """The module systems to evaluate with, by a name for the test's report."""
    named = os.environ.get("PREFETCH_NIXPKGS_LIB")
    ours = {"ours": HOUSE / "module_system.nix"}
    return ours | ({"nixpkgs": Path(named).absolute() / "default.nix"} if named else {})


@dataclass(frozen=True, slots=True)
class Module:
    """The module with one version of Nix and one module system."""

    nix: Nix
    store: ScratchStore
    library: Path

    def system(self, configuration: str) -> Any:
        """What the options of NixOS come to with a configuration, written in Nix."""
        completed = self._evaluate(configuration)
        assert completed.returncode == 0, completed.stderr
        return json.loads(completed.stdout)

    def refusal(self, configuration: str) -> str:
        """What is said of a configuration that is refused."""
        completed = self._evaluate(configuration)
        assert completed.returncode != 0, completed.stdout
        return completed.stderr

    def _evaluate(self, configuration: str) -> subprocess.CompletedProcess[str]:
        expression = _EXPRESSION
        for name, text in {
            "LIB": str(self.library),
            "MODULE": str(PROJECT / "nix/module"),
            "OPTIONS": str(HOUSE / "nixos_options.nix"),
            "CONFIGURATION": configuration,
        }.items():
            expression = expression.replace(name, text)
        command = ("nix", "eval", "--impure", "--json", "--expr", expression)
        return run(self.nix, *command, store=self.store, check=False)


def unit_texts(system: Any) -> dict[str, str]:
    """The files of the units, as NixOS would write them; ``path`` is left out."""
    units: dict[str, str] = {}
    for kind, suffix in (("services", "service"), ("timers", "timer"), ("sockets", "socket")):
        for name, unit in system["systemd"][kind].items():
            units[f"{name}.{suffix}"] = "\n".join(_lines(suffix, unit))
    return units


def _lines(suffix: str, unit: Any) -> Iterator[str]:
    yield "[Unit]"
    yield from _settings({"Description": unit["description"], **unit["unitConfig"]})
    yield from _settings({"Wants": unit["wants"], "After": unit["after"]})
    yield f"[{suffix.capitalize()}]"
    for name, value in unit.get("environment", {}).items():
        yield f"Environment={name}={value}"
    yield from _settings(unit.get(f"{suffix}Config", {}))
    yield from _settings({"ListenStream": unit.get("listenStreams", [])})
    yield "[Install]"
    yield from _settings({"WantedBy": unit["wantedBy"]})
    yield ""


def _settings(settings: dict[str, Any]) -> Iterator[str]:
    for name, value in settings.items():
        for each in value if isinstance(value, list) else [value]:
            yield f"{name}={str(each).lower() if isinstance(each, bool) else each}"
