"""A flake with a dev shell that `nix develop` can enter, by a static bash of this machine."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

import pytest

from rig.evaluated_again import MADE, flake

if TYPE_CHECKING:
    from pathlib import Path

NIXPKGS: Final = f"""{{ outputs = {{ self }}: let {MADE}
  install = more: [ "-c" ''
    /bin/busybox mkdir -p $out/bin
    /bin/busybox cp ${{./bash}} $out/bin/bash
    ${{more}}
  '' ];
  tools = made "tools" {{
    args = install "echo 'export FROM_SETUP=prepared' >$out/setup";
  }};
in {{
  legacyPackages.x86_64-linux = {{
    bashInteractive = made "bash-interactive" {{ args = install ""; }};
    mkShell = more: made "shell" ({{
      builder = "${{tools}}/bin/bash";
      args = [ "-c" "exit 1" ];
      stdenv = tools;
      outputs = [ "out" ];
    }} // more);
  }};
}}; }}
"""


def shell_flake(directory: Path) -> tuple[Path, Path]:
    """A flake with a dev shell, and its nixpkgs."""
    bash = shutil.which("bash-static")
    if bash is None:
        pytest.skip("no bash-static: tools/install-nix tests installs it")
    nixpkgs = flake(directory / "nixpkgs", NIXPKGS)
    shutil.copy(bash, nixpkgs / "bash")
    top = flake(
        directory / "top",
        f"""{{ inputs.nixpkgs.url = "path:{nixpkgs}"; outputs = {{ self, nixpkgs }}: {{
          devShells.x86_64-linux.default =
            nixpkgs.legacyPackages.x86_64-linux.mkShell {{ GREETING = "hello"; }};
        }}; }}""",
    )
    return top, nixpkgs
