"""Every kind of installable, evaluated by real Nix, and what is said when that fails."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from rig.running import ScratchStore, run

from mirror.demo.busybox import find_busybox
from mirror.errors import EvaluationError, ToolError
from mirror.formats.store_path import StorePath
from mirror.nix.evaluation.evaluate import Evaluated, evaluate, evaluate_all
from mirror.nix.evaluation.evaluators import Evaluators
from mirror.nix.stores import StoreLocation, open_store
from mirror.planning.lists.list_file import parse_list
from mirror.shipped import shipped_edits

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.demo.upstream import Upstream
    from mirror.nix.command import Nix
    from mirror.planning.lists.targets import Target

SYSTEM = "x86_64-linux"
MADE = """
  made = name: derivation { inherit name; system = "x86_64-linux"; builder = "/bin/sh"; };
"""
FLAKE = f"""{{ outputs = {{ self }}: let {MADE} in {{
  nixosConfigurations.pi.config.system.build.toplevel = made "nixos-pi";
  nixosConfigurations."b.example".config.system.build.toplevel = made "nixos-b";
  nixosConfigurations.broken.config.system.build.toplevel = throw "this host is broken";
  homeConfigurations."alice@b.example".activationPackage = made "home-alice";
  homeConfigurations.pi = throw "never looked at";
  darwinConfigurations.mac.system = made "darwin-mac";
  devShells.x86_64-linux.shell = made "shell";
  packages.x86_64-linux.pi = throw "never looked at";
  packages.x86_64-linux.tool = made "tool";
  packages.aarch64-linux.tool = made "tool-for-arm";
  legacyPackages.x86_64-linux.sets."1.0" = made "legacy";
  legacyPackages.x86_64-linux.unrelated = throw "never looked at";
  checks.x86_64-linux.pure = made "pure-${{
    if builtins ? currentSystem then "no" else "yes-${{builtins.getEnv "HOME"}}"
  }}";
  some.where.other = made "else-${{self.rev or "no-revision"}}";
  number = 3;
  fun = x: x;
}}; }}
"""


@pytest.fixture
async def store(any_nix: Nix, scratch_store: ScratchStore) -> StoreLocation:
    location = StoreLocation.parse(scratch_store.url)
    await open_store(any_nix, location)
    return location


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    """Where the list is: beside the store, since a flake's whole directory is copied to it."""
    directory = tmp_path / "hosts"
    directory.mkdir()
    return directory


def commit_all(tree: Path) -> None:
    git = ["git", "-C", str(tree), "-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "first"], check=True)


def targets(directory: Path, *lines: str) -> list[Target]:
    return parse_list(
        "\n".join(lines), file="hosts.txt", directory=directory, shipped_edits=shipped_edits()
    )


async def evaluated(nix: Nix, store: StoreLocation, directory: Path, line: str) -> Evaluated:
    (target,) = targets(directory, f"it = {line}")
    return await evaluate(nix, target, store=store, system=SYSTEM)


async def failure(nix: Nix, store: StoreLocation, directory: Path, line: str) -> EvaluationError:
    with pytest.raises(EvaluationError) as caught:
        await evaluated(nix, store, directory, line)
    assert caught.value.message.startswith("it")
    return caught.value


async def test_a_name_in_a_flake_is_looked_for_in_every_place(
    any_nix: Nix, store: StoreLocation, hosts: Path
) -> None:
    (hosts / "flake.nix").write_text(FLAKE)
    whole = "config.system.build.toplevel"
    expected = {
        ".#pi": (f"nixosConfigurations.pi.{whole}", "nixos-pi"),
        ".#b.example": (f'nixosConfigurations."b.example".{whole}', "nixos-b"),
        """'path:.#"b.example"'""": (f'nixosConfigurations."b.example".{whole}', "nixos-b"),
        ".#alice@b.example": (
            'homeConfigurations."alice@b.example".activationPackage',
            "home-alice",
        ),
        ".#mac": ("darwinConfigurations.mac.system", "darwin-mac"),
        ".#shell": ("devShells.x86_64-linux.shell", "shell"),
        ".#tool": ("packages.x86_64-linux.tool", "tool"),
        ".#packages.aarch64-linux.tool": ("packages.aarch64-linux.tool", "tool-for-arm"),
        """'.#sets."1.0"'""": ('legacyPackages.x86_64-linux.sets."1.0"', "legacy"),
        ".#some.where.other": ("some.where.other", "else-no-revision"),
        ".#checks.x86_64-linux.pure": ("checks.x86_64-linux.pure", "pure-yes-"),
    }
    lines = [f"t{number} = {line}" for number, line in enumerate(expected)]
    results = await evaluate_all(
        any_nix, targets(hosts, *lines), store=store, system=SYSTEM, evaluators=Evaluators(2)
    )
    found = []
    for result in results:
        assert isinstance(result, Evaluated), result
        assert store.real(result.root).is_file()
        found.append((result.chosen, result.root.name.removesuffix(".drv")))
    assert found == list(expected.values())
    assert not (hosts / "flake.lock").exists()


async def test_a_flake_gives_the_derivation_that_nix_itself_gives(
    any_nix: Nix, store: StoreLocation, scratch_store: ScratchStore, hosts: Path
) -> None:
    """Also one in a git tree, clean or not, where the revision is part of it."""
    flake = hosts / "tree"
    (flake / "sub").mkdir(parents=True)
    (flake / "sub/flake.nix").write_text(FLAKE)
    commit_all(flake)
    for change in ("", "# not committed\n"):
        (flake / "sub/flake.nix").write_text(FLAKE + change)
        for reference in (f"path:{flake}/sub", f"git+file://{flake}?dir=sub"):
            attribute = f"{reference}#some.where.other.drvPath"
            expected = run(any_nix, "nix", "eval", "--raw", attribute, store=scratch_store)
            found = await evaluated(any_nix, store, hosts, f"{reference}#some.where.other")
            assert found.root == expected.stdout
    relative = await evaluated(any_nix, store, flake, "git+file:.?dir=sub#some.where.other")
    assert relative.root == found.root


async def test_a_flake_with_inputs_is_evaluated_as_it_is_locked(
    any_nix: Nix, store: StoreLocation, hosts: Path
) -> None:
    for name in ("outer", "inner"):
        (hosts / name).mkdir()
    (hosts / "inner/flake.nix").write_text(FLAKE)
    (hosts / "outer/flake.nix").write_text(
        f'{{ inputs.inner.url = "path:{hosts}/inner";'
        " outputs = { self, inner }: { packages.x86_64-linux.again ="
        " inner.packages.x86_64-linux.tool; }; }"
    )
    result = await evaluated(any_nix, store, hosts, "./outer#again")
    assert result.root.name == "tool.drv"


async def test_what_a_flake_lacks_or_what_cannot_be_built_is_said(
    any_nix: Nix, store: StoreLocation, hosts: Path
) -> None:
    (hosts / "flake.nix").write_text(FLAKE)
    missing = await failure(any_nix, store, hosts, ".#b.exampel")
    assert "'b.exampel'" in missing.message
    assert 'nixosConfigurations."b.example"' in (missing.hint or "")
    number = await failure(any_nix, store, hosts, ".#number")
    assert number.message == "it (.#number) is not a derivation (number): it is a number"
    function = await failure(any_nix, store, hosts, ".#fun")
    assert function.message.endswith("it is a function")
    elsewhere = await failure(any_nix, store, hosts, "./no-such-flake#a")
    assert f"there is no directory {hosts}/no-such-flake" in elsewhere.message


async def test_one_that_fails_does_not_stop_the_others(
    any_nix: Nix, store: StoreLocation, hosts: Path
) -> None:
    (hosts / "flake.nix").write_text(FLAKE)
    first, second, third = await evaluate_all(
        any_nix,
        targets(hosts, ".#pi", ".#broken", ".#tool"),
        store=store,
        system=SYSTEM,
        evaluators=Evaluators(3),
    )
    assert isinstance(first, Evaluated)
    assert isinstance(second, EvaluationError)
    assert second.message.startswith("broken (.#broken) cannot be evaluated")
    assert "error:" in second.message
    assert second.message.endswith("this host is broken")
    assert isinstance(third, Evaluated)


async def test_an_attribute_of_a_file_is_evaluated_as_nix_instantiate_does(
    any_nix: Nix, store: StoreLocation, scratch_store: ScratchStore, hosts: Path
) -> None:
    directory = hosts / 'with "quotes" and ${spaces}'
    directory.mkdir()
    (directory / "plain.nix").write_text(f'let {MADE} in {{ a."b.c" = made "plain"; }}')
    function = f'{{ name ? "default" }}: let {MADE} in {{ deep.it = made name; }}'
    (directory / "function.nix").write_text(function)
    (directory / "args.nix").write_text('{ name = "given"; }')
    (directory / "wrong.nix").write_text('{ nmae = "given"; }')

    plain = await evaluated(any_nix, store, directory, """'./plain.nix#a."b.c"'""")
    assert plain.root.name == "plain.drv"
    assert plain.chosen is None
    called = await evaluated(any_nix, store, directory, "./function.nix#deep.it")
    expected = run(
        any_nix, "nix-instantiate", "function.nix", "-A", "deep.it", store=scratch_store,
        cwd=directory,
    )  # fmt: skip
    assert called.root == expected.stdout.strip()
    given = await evaluated(any_nix, store, directory, "./function.nix#deep.it args=args.nix")
    assert given.root.name == "given.drv"
    wrong = await failure(any_nix, store, directory, "./function.nix#deep.it args=wrong.nix")
    assert "nmae" in wrong.message
    missing = await failure(any_nix, store, directory, "./plain.nix#nope")
    assert "nope" in missing.message
    some = await failure(any_nix, store, directory, "./plain.nix#a")
    assert some.message.endswith("it is an attribute set that is not a derivation")
    absent = await failure(any_nix, store, directory, "./absent.nix#a")
    assert absent.message.endswith(f"there is no {directory}/absent.nix")


async def test_a_configuration_is_evaluated_with_nixpkgs(
    any_nix: Nix, store: StoreLocation, hosts: Path
) -> None:
    nixos = hosts / "nixpkgs/nixos"
    nixos.mkdir(parents=True)
    (nixos / "default.nix").write_text(
        f"{{ configuration ? import <nixos-config> }}: let {MADE} in"
        ' { system = made "nixos-${configuration.name}-${builtins.getEnv "NIXOS_CONFIG"}"; }'
    )
    (hosts / "configuration.nix").write_text('{ name = "laptop"; }')
    environment = {"NIX_PATH": f"nixpkgs={hosts}/nixpkgs", "NIXOS_CONFIG": "/another.nix"}
    nix = dataclasses.replace(any_nix, environment={**any_nix.environment, **environment})
    result = await evaluated(nix, store, hosts, "configuration.nix")
    assert result.root.name == "nixos-laptop-.drv"

    without = dataclasses.replace(any_nix, environment={**any_nix.environment, "NIX_PATH": ""})
    error = await failure(without, store, hosts, "configuration.nix")
    assert "nixpkgs/nixos" in error.message


async def test_a_derivation_of_the_store_stands_for_itself(
    any_nix: Nix, store: StoreLocation, hosts: Path
) -> None:
    (hosts / "a.nix").write_text(f'let {MADE} in {{ it = made "a"; }}')
    made = await evaluated(any_nix, store, hosts, "a.nix#it")
    assert (await evaluated(any_nix, store, hosts, made.root)).root == made.root
    (hosts / "kept").symlink_to(store.real(made.root))
    assert (await evaluated(any_nix, store, hosts, "./kept")).root == made.root
    absent = StorePath.parse(made.root.replace("-a.drv", "-b.drv"))
    error = await failure(any_nix, store, hosts, absent)
    assert f"{absent} is not in the store" in error.message


async def test_a_derivation_of_the_machines_own_store_is_copied(
    any_nix: Nix, store: StoreLocation, hosts: Path, tmp_path: Path
) -> None:
    own = ScratchStore(tmp_path / "own-store")
    (hosts / "a.nix").write_text(f'let {MADE} in {{ it = made "a"; }}')
    made = await evaluated(any_nix, StoreLocation.parse(own.url), hosts, "a.nix#it")
    environment = {**any_nix.environment, "NIX_REMOTE": own.url}
    nix = dataclasses.replace(any_nix, environment=environment)
    assert (await evaluated(nix, store, hosts, made.root)).root == made.root
    assert store.real(made.root).read_bytes() == own.real(made.root).read_bytes()


async def test_a_profile_leads_to_the_derivation_that_made_it(
    any_nix: Nix, store: StoreLocation, scratch_store: ScratchStore, hosts: Path
) -> None:
    (hosts / "a.nix").write_text(
        'derivation { name = "a"; system = builtins.currentSystem; builder = "/bin/sh";'
        ' args = [ "-c" "echo a > $out" ]; }'
    )
    shell = shutil.copy(await find_busybox(any_nix), hosts / "sh")
    settings = (f"sandbox-paths = /bin/sh={shell}",)
    built = run(
        any_nix, "nix-build", "--no-out-link", str(hosts / "a.nix"),
        store=scratch_store, config=settings,
    )  # fmt: skip
    path = StorePath.parse(built.stdout.strip())
    profiles = hosts / "profiles"
    profiles.mkdir()
    (profiles / "system-1-link").symlink_to(path)
    (profiles / "system").symlink_to("system-1-link")
    (hosts / "current").symlink_to("profiles")
    by_path = await evaluated(any_nix, store, hosts, path)
    assert by_path.root.name == "a.drv"
    by_link = await evaluated(any_nix, store, hosts, "./current/system")
    assert by_link.root == by_path.root

    delete = ("nix-store", "--delete", by_path.root)
    run(any_nix, *delete, store=scratch_store, config=("keep-derivations = false",))
    gone = await failure(any_nix, store, hosts, path)
    assert by_path.root in gone.message or "does not know" in gone.message
    assert "list the flake or file" in (gone.hint or "")


async def test_a_path_without_a_known_derivation_is_said(
    any_nix: Nix, store: StoreLocation, scratch_store: ScratchStore, hosts: Path
) -> None:
    (hosts / "file").write_text("content")
    added = run(any_nix, "nix-store", "--add", str(hosts / "file"), store=scratch_store)
    error = await failure(any_nix, store, hosts, added.stdout.strip())
    assert "does not know what" in error.message
    assert "list the flake or file" in (error.hint or "")
    for elsewhere in ("./file", "./absent", "/"):
        error = await failure(any_nix, store, hosts, elsewhere)
        assert "is not a store path or a link to one" in error.message
    error = await failure(any_nix, store, hosts, f"./{'x' * 300}")
    assert "File name too long" in error.message
    (hosts / "loop").symlink_to("loop")
    assert "is not a store path" in (await failure(any_nix, store, hosts, "./loop")).message


async def test_a_new_store_can_be_evaluated_into_at_once(
    any_nix: Nix, store: StoreLocation, hosts: Path
) -> None:
    """Nix's own processes fail where several of them make one store."""
    (hosts / "a.nix").write_text(f'let {MADE} in {{ it = made "a"; }}')
    lines = [f"t{number} = a.nix#it" for number in range(6)]
    results = await evaluate_all(
        any_nix, targets(hosts, *lines), store=store, system=SYSTEM, evaluators=Evaluators(6)
    )
    assert not [result for result in results if isinstance(result, EvaluationError)]


async def test_what_only_looks_like_a_derivation_is_said(
    any_nix: Nix, store: StoreLocation, hosts: Path
) -> None:
    (hosts / "a.nix").write_text('{ number.drvPath = 3; text.drvPath = "/nix/store/x.drv"; }')
    number = await failure(any_nix, store, hosts, "a.nix#number")
    assert "an integer" in number.message
    text = await failure(any_nix, store, hosts, "a.nix#text")
    assert "not a store path: '/nix/store/x.drv'" in text.message


async def test_a_nix_that_cannot_be_started_is_an_error_of_its_own(
    any_nix: Nix, store: StoreLocation, hosts: Path
) -> None:
    nix = dataclasses.replace(any_nix, program=str(hosts / "no-nix"))
    with pytest.raises(ToolError):
        await evaluate_all(
            nix, targets(hosts, ".#a", ".#b"), store=store, system=SYSTEM, evaluators=Evaluators(2)
        )


async def test_the_demo_is_the_same_system_by_flake_file_and_configuration(
    any_nix: Nix, store: StoreLocation, scratch_store: ScratchStore, upstream: Upstream
) -> None:
    environment = {**any_nix.environment, "NIX_PATH": f"nixpkgs={upstream.distribution}/nixpkgs"}
    nix = dataclasses.replace(any_nix, environment=environment)
    results = await evaluate_all(
        nix,
        targets(
            upstream.distribution,
            "flake = .#laptop",
            "file = ./default.nix#nixosConfigurations.laptop.config.system.build.toplevel",
            "classic = ./hosts/laptop.nix",
        ),
        store=store,
        system=SYSTEM,
        evaluators=Evaluators(2),
    )
    assert not [result for result in results if isinstance(result, EvaluationError)]
    roots = {result.root for result in results if isinstance(result, Evaluated)}
    assert len(roots) == 1, results
    (root,) = roots
    command = ("nix-instantiate", "<nixpkgs/nixos>", "-A", "system")
    include = ("-I", f"nixos-config={upstream.distribution}/hosts/laptop.nix")
    assert run(nix, *command, *include, store=scratch_store).stdout.strip() == root
