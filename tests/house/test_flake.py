"""The project's own Nix code, evaluated with a stub where nixpkgs would be.

``nixosSystem`` is the module system of ``module_system.nix`` with the options of
``nixos_options.nix``: see :mod:`rig.nixos`.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from typing import TYPE_CHECKING, Any

from rig.nixes import PROJECT
from rig.nixos import HOUSE

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.nix.command import Nix

FILES = ("flake.nix", "package.nix", "shell.nix", "pyproject.toml", "README.md", "LICENSE")
SYSTEMS = {"x86_64-linux", "aarch64-linux"}

# As much of nixpkgs as the flake touches. `callPackage` passes what the function names, as
# nixpkgs does, and fails where that is nothing it has; the package is its own arguments.
STUB = """
{
  outputs = { self }:
    let
      lib = import ./module_system.nix // {
        cleanSource = source: source;
        makeBinPath = builtins.concatStringsSep ":";
        licenses.mit = "MIT";
        platforms.linux = [ "x86_64-linux" "aarch64-linux" ];
        nixosSystem = { modules }:
          let
            system = lib.evalModules {
              modules = modules ++ [
                ./nixos_options.nix
                ({ lib, pkgs, ... }: {
                  options.nixpkgs.hostPlatform = lib.mkOption { type = lib.types.str; };
                  config.nix.package = pkgs.mkShell { };
                })
              ];
              specialArgs.pkgs = packages system.config.nixpkgs.hostPlatform;
            };
          in system;
      };
      python = (lib.genAttrs PYTHON_PACKAGES (name: name)) // {
        pythonOlder = version: builtins.compareVersions "3.13" version < 0;
      };
      made = system: kind: arguments: derivation {
        inherit system;
        name = kind;
        builder = "/bin/sh";
      } // { inherit arguments; };
      packages = system:
        let
          pkgs = {
            inherit lib system;
            git = "/git";
            gitMinimal = "/git";
            openssh = "/openssh";
            gnumake = "/gnumake";
            nix = "/nix";
            python3 = "/python3";
            stdenv = { buildPlatform.canExecute = host: true; hostPlatform = { }; };
            installShellFiles = "/install-shell-files";
            python3Packages = python // {
              buildPythonApplication = made system "prefetch";
              python.sitePackages = "lib/python3/site-packages";
            };
            mkShell = made system "shell";
            writeText = name: made system name;
            callPackage = file: given:
              let function = import file;
              in function (builtins.intersectAttrs (builtins.functionArgs function) pkgs // given);
          };
        in pkgs;
    in { inherit lib; legacyPackages = lib.genAttrs lib.platforms.linux packages; };
}
"""
PYTHON_PACKAGES = (
    *("aiofiles", "aiohttp", "backports-zstd", "brotli", "hatchling", "httpx", "pycurl"),
    *(
        "hypothesis",
        "pynacl",
        "pytest-asyncio",
        "pytest-timeout",
        "pytestCheckHook",
        "tqdm",
        "typer",
    ),
)


async def evaluated(nix: Nix, directory: Path, *command: str) -> Any:
    """What a command of Nix says, as JSON, of a copy of the flake whose nixpkgs is the stub."""
    flake, stub = directory / "flake", directory / "stub"
    flake.mkdir()
    stub.mkdir()
    for name in FILES:
        (flake / name).write_bytes((PROJECT / name).read_bytes())
    shutil.copytree(PROJECT / "nix", flake / "nix")
    for name in ("module_system.nix", "nixos_options.nix"):
        shutil.copy(HOUSE / name, stub)
    names = "[ " + " ".join(f'"{name}"' for name in PYTHON_PACKAGES) + " ]"
    (stub / "flake.nix").write_text(STUB.replace("PYTHON_PACKAGES", names))
    name, reference, *options = command
    completed = await nix.run(
        [
            *("nix", *name.split(), f"path:{flake}{reference}", "--json", *options),
            *("--store", f"local?root={directory / 'root'}", "--no-write-lock-file"),
            *("--override-input", "nixpkgs", f"path:{stub}"),
        ]
    )
    assert completed.returncode == 0, completed.stderr
    return json.loads(completed.stdout)


async def test_the_flake_has_a_package_an_app_a_shell_a_module_and_checks(
    any_nix: Nix, tmp_path: Path
) -> None:
    # Older ones show all systems unasked.
    options = ["--all-systems"] if any_nix.version >= (2, 14, 0) else []
    shown = await evaluated(any_nix, tmp_path, "flake show", "", *options)
    assert shown.pop("nixosModules").keys() == {"default", "prefetch"}
    assert {kind: set(systems) for kind, systems in shown.items()} == dict.fromkeys(
        ("packages", "apps", "devShells", "checks"), SYSTEMS
    )
    for system in SYSTEMS:
        assert set(shown["packages"][system]) == {"default", "prefetch"}
        assert shown["apps"][system]["default"]["type"] == "app"


async def test_a_check_evaluates_the_nixos_module(any_nix: Nix, tmp_path: Path) -> None:
    check = await evaluated(any_nix, tmp_path, "eval", "#checks.x86_64-linux.module.arguments")
    commands = {name: line.split()[1:4] for name, line in json.loads(check).items()}
    assert commands == {
        "prefetch-sync": ["sync", "/etc/prefetch/targets.txt", "--to"],
        "prefetch-prune": ["prune", "/etc/prefetch/targets.txt", "--to"],
        "prefetch-serve": ["serve", "/var/lib/prefetch/cache", "--listen"],
    }


async def test_the_package_is_what_pyproject_says(any_nix: Nix, tmp_path: Path) -> None:
    arguments = await evaluated(
        any_nix,
        tmp_path,
        "eval",
        "#packages.x86_64-linux.default.arguments",
        "--apply",
        "package: { inherit (package) pname version dependencies enabledTestPaths; }",
    )
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert (arguments["pname"], arguments["version"]) == (project["name"], project["version"])
    required = {text.split(">=")[0].replace(".", "-") for text in project["dependencies"]}
    assert set(arguments["dependencies"]) == required
    for directory in arguments["enabledTestPaths"]:
        assert (PROJECT / directory).is_dir()
