"""What evaluation needs is enough: evaluated again with nothing else, without a network."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import http.server
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from rig.evaluated_again import (
    MADE,
    evaluate_offline,
    feed,
    flake,
    lock,
    needs_of,
    nix_for_builds,
    with_new_home,
)
from rig.running import ScratchStore, run

from mirror.formats.store_path import StorePath
from mirror.nix.evaluation.flake_inputs import flake_inputs
from mirror.nix.evaluation.needs import EvaluationNeeds
from mirror.nix.stores import StoreLocation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mirror.nix.command import Nix


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A directory, and the URL that it is served at until the test is over."""
    directory = tmp_path / "served"
    directory.mkdir()
    handler = functools.partial(_Handler, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield directory, f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
async def nix(any_nix: Nix, tmp_path: Path) -> Nix:
    return await nix_for_builds(any_nix, tmp_path)


@pytest.fixture
def store(scratch_store: ScratchStore) -> StoreLocation:
    return StoreLocation.parse(scratch_store.url)


def archive(tree: Path, file: Path) -> None:
    subprocess.run(["tar", "-czf", file, "-C", tree.parent, tree.name], check=True)


def many_inputs(tmp_path: Path, served: tuple[Path, str]) -> tuple[Path, list[Path]]:
    """A flake with every kind of input, and the directories that they are in."""
    directory, url = served
    library = flake(directory / "library", '{ outputs = { self }: { x = "library"; }; }')
    archive(library, directory / "library.tar.gz")
    shutil.rmtree(library)
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "message").write_text("plain")
    unused = flake(tmp_path / "unused", "{ outputs = { self }: { }; }")
    middle = flake(
        tmp_path / "middle",
        f"""{{
          inputs.library.url = "{url}/library.tar.gz";
          outputs = {{ self, library }}: {{ x = "middle of ${{library.x}}"; }};
        }}""",
    )
    top = flake(
        tmp_path / "top",
        f"""{{
          inputs.middle.url = "path:{middle}";
          inputs.plain = {{ url = "path:{plain}"; flake = false; }};
          inputs.unused.url = "path:{unused}";
          inputs.library.follows = "middle/library";
          outputs = {{ self, middle, plain, unused, library }}: let {MADE} in {{
            packages.x86_64-linux.it = made "it" {{
              middle = middle.x;
              library = library.x;
              message = builtins.readFile "${{plain}}/message";
            }};
          }};
        }}""",
    )
    return top, [plain, unused, middle, directory]


async def test_a_flake_is_evaluated_offline_from_what_it_needs(
    nix: Nix,
    store: StoreLocation,
    scratch_store: ScratchStore,
    elsewhere: ScratchStore,
    tmp_path: Path,
    served: tuple[Path, str],
) -> None:
    top, sources = many_inputs(tmp_path, served)
    lock(nix, top, scratch_store)
    evaluated, needs = await needs_of(nix, store, top, "'path:.#it'")
    lock_file = (top / "flake.lock").read_bytes()
    assert needs.lock_hash == hashlib.sha256(lock_file).hexdigest()
    assert not needs.notices
    assert not needs.registry
    for directory in sources:
        shutil.rmtree(directory)
    feed(nix, elsewhere, store, needs)
    fresh = with_new_home(nix, tmp_path / "second-home")
    attribute = f"path:{top}#packages.x86_64-linux.it.drvPath"
    assert evaluate_offline(fresh, elsewhere, attribute) == evaluated.root
    # And finding out what is needed does not need the network either.
    offline, there = fresh.without_network(), StoreLocation.parse(elsewhere.url)
    _, needs_there = await needs_of(offline, there, top, "'path:.#it'")
    assert needs_there == needs
    inputs = await flake_inputs(offline, f"path:{top}", store=there)
    assert inputs.paths <= needs.paths
    assert len(inputs.paths) == 5


async def test_without_one_of_the_inputs_that_fails(
    nix: Nix,
    store: StoreLocation,
    scratch_store: ScratchStore,
    elsewhere: ScratchStore,
    tmp_path: Path,
    served: tuple[Path, str],
) -> None:
    """So the evaluation above has found nothing in any other place."""
    top, sources = many_inputs(tmp_path, served)
    lock(nix, top, scratch_store)
    _, needs = await needs_of(nix, store, top, "'path:.#it'")
    (plain,) = (path for path in needs.paths if (store.real(path) / "message").exists())
    shutil.rmtree(sources[0])
    some = {path: names for path, names in needs.references.items() if path != plain}
    feed(nix, elsewhere, store, dataclasses.replace(needs, references=some))
    attribute = f"path:{top}#packages.x86_64-linux.it.drvPath"
    command = ("nix", "eval", "--raw", "--no-write-lock-file", attribute)
    fresh = with_new_home(nix, tmp_path / "second-home")
    assert run(fresh, *command, store=elsewhere, offline=True, check=False).returncode != 0


async def test_a_git_flake_with_an_input_in_its_own_tree(
    nix: Nix,
    store: StoreLocation,
    scratch_store: ScratchStore,
    elsewhere: ScratchStore,
    tmp_path: Path,
) -> None:
    tree = tmp_path / "tree"
    flake(tree / "hosts/sub", '{ outputs = { self }: { x = "sub"; }; }')
    inputs = 'inputs.sub.url = "path:./sub";' if nix.version >= (2, 26, 0) else ""
    flake(
        tree / "hosts",
        f"""{{ {inputs}
          outputs = {{ self, ... }}@inputs: let {MADE} in {{
            packages.x86_64-linux.it = made "it" {{ sub = inputs.sub.x or "none"; }};
          }};
        }}""",
    )
    git = ["git", "-C", str(tree), "-c", "user.name=t", "-c", "user.email=t@localhost"]
    lock(nix, tree / "hosts", scratch_store)
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    reference = f"git+file://{tree}?dir=hosts"
    subprocess.run([*git, "commit", "--quiet", "-m", "first"], check=True)
    evaluated, needs = await needs_of(nix, store, tree, f"'{reference}#it'")
    assert (needs.lock_hash is not None) == bool(inputs)
    feed(nix, elsewhere, store, needs)
    fresh = with_new_home(nix, tmp_path / "second-home")
    attribute = f"{reference}#packages.x86_64-linux.it.drvPath"
    assert evaluate_offline(fresh, elsewhere, attribute) == evaluated.root


async def test_inputs_that_are_not_locked_are_told(
    nix: Nix, store: StoreLocation, tmp_path: Path
) -> None:
    other = flake(tmp_path / "other", "{ outputs = { self }: { }; }")
    top = flake(
        tmp_path / "top",
        f"""{{ inputs.other.url = "path:{other}";
          outputs = {{ self, other }}: let {MADE} in {{ it = made "it" {{ }}; }}; }}""",
    )
    _, needs = await needs_of(nix, store, top, "'path:.#it'")
    assert needs.lock_hash is None
    (notice,) = needs.notices
    assert notice.startswith("its lock file lacks other, ")


async def test_a_reference_by_the_registry_is_told_as_what_it_stands_for(
    nix: Nix, store: StoreLocation, tmp_path: Path
) -> None:
    top = flake(
        tmp_path / "top", f'{{ outputs = {{ self }}: let {MADE} in {{ it = made "it" {{ }}; }}; }}'
    )
    empty = tmp_path / "registry.json"
    empty.write_text('{"version": 2, "flakes": []}')
    features = "extra-experimental-features = nix-command flakes"
    config = f"{nix.environment['NIX_CONFIG']}\n{features}\nflake-registry = {empty}"
    nix = dataclasses.replace(nix, environment={**nix.environment, "NIX_CONFIG": config})
    run(nix, "nix", "registry", "add", "hosts", f"path:{top}")
    _, needs = await needs_of(nix, store, tmp_path, "hosts#it")
    ((indirect, locked),) = needs.registry.items()
    assert indirect == "flake:hosts"
    assert locked.startswith(f"path:{top}?lastModified=")
    assert "narHash=" in locked


async def test_a_configuration_with_channels_and_fetched_files(
    nix: Nix,
    store: StoreLocation,
    scratch_store: ScratchStore,
    elsewhere: ScratchStore,
    tmp_path: Path,
    served: tuple[Path, str],
) -> None:
    directory, url = served
    library = directory / "library"
    library.mkdir()
    (library / "default.nix").write_text('"library"')
    archive(library, directory / "library.tar.gz")
    (directory / "file.txt").write_text("a file")
    tree_hash = run(nix, "nix", "hash", "path", str(library)).stdout.strip()
    file_hash = run(nix, "nix", "hash", "file", str(directory / "file.txt")).stdout.strip()
    # A channel as a profile has it: a link out of the store, and links from there to the channel.
    channel = tmp_path / "channel/nixos/nixos"
    channel.mkdir(parents=True)
    (channel / "default.nix").write_text(
        "{ configuration ? <nixos-config> }: { system = import configuration; }"
    )
    nixos = run(
        nix, "nix-store", "--add", str(tmp_path / "channel/nixos"), store=scratch_store
    ).stdout.strip()
    profile_text = f"""
      let {MADE} in made "profile" {{ args = [ "-c" "/bin/busybox mkdir $out; \
        /bin/busybox ln -s ${{builtins.storePath "{nixos}"}} $out/nixos" ]; }}"""
    (tmp_path / "profile.nix").write_text(profile_text)
    profile = run(
        nix, "nix-build", "--no-out-link", str(tmp_path / "profile.nix"), store=scratch_store
    ).stdout.strip()
    links = tmp_path / "profiles"
    links.mkdir()
    (links / "channels-1-link").symlink_to(scratch_store.real(profile))
    (links / "channels").symlink_to("channels-1-link")
    configuration = tmp_path / "configuration.nix"
    configuration.write_text(f"""
      let {MADE} in made "nixos" {{
        library = import (fetchTarball {{ url = "{url}/library.tar.gz"; sha256 = "{tree_hash}"; }});
        file = builtins.readFile (builtins.fetchurl {{
          url = "{url}/file.txt"; sha256 = "{file_hash}";
        }});
      }}""")
    # `nixos` in the profile is a link to where the machine's own store would be.
    search = f"nixpkgs={scratch_store.real(nixos)}:{links / 'channels'}"
    nix = dataclasses.replace(nix, environment={**nix.environment, "NIX_PATH": search})
    evaluated, needs = await needs_of(nix, store, tmp_path, "./configuration.nix")
    assert nixos in needs.references[StorePath.parse(profile)]
    assert not needs.notices
    shutil.rmtree(directory)
    feed(nix, elsewhere, store, needs)
    arguments = (
        *("--impure", "-I", f"nixpkgs={elsewhere.real(nixos)}"),
        *("-I", f"nixos-config={configuration}", "--expr", "import <nixpkgs/nixos> { }"),
        "system.drvPath",
    )
    fresh = with_new_home(nix, tmp_path / "second-home")
    assert evaluate_offline(fresh, elsewhere, *arguments) == evaluated.root


async def test_a_search_path_into_another_store_is_told(
    nix: Nix, store: StoreLocation, tmp_path: Path
) -> None:
    absent = f"/nix/store/{'0' * 32}-channel"
    environment = {**nix.environment, "NIX_PATH": f"nixpkgs={absent}"}
    (tmp_path / "it.nix").write_text(f'let {MADE} in {{ it = made "it" {{ }}; }}')
    nix = dataclasses.replace(nix, environment=environment)
    _, needs = await needs_of(nix, store, tmp_path, "./it.nix#it")
    assert needs.notices == (
        f"<nixpkgs> leads to {absent}, which the store {store.url} does not have",
    )


@pytest.mark.parametrize("is_built_before", [False, True])
async def test_import_from_derivation_is_evaluated_without_building(
    nix: Nix,
    store: StoreLocation,
    elsewhere: ScratchStore,
    scratch_store: ScratchStore,
    tmp_path: Path,
    is_built_before: bool,
) -> None:
    top = flake(
        tmp_path / "top",
        f"""{{ outputs = {{ self }}: let {MADE}
          generated = made "generated" {{ args = [ "-c" "echo '\\"value\\"' > $out" ]; }};
          again = made "again" {{
            args = [ "-c" "read text < ${{generated}}; echo \\"$text # ${{generated}}\\" > $out" ];
          }};
        in {{ it = made "it" {{ value = import again; }}; inherit again; }}; }}""",
    )
    if is_built_before:
        run(nix, "nix", "build", "--no-link", f"path:{top}#again", store=scratch_store)
    evaluated, needs = await needs_of(nix, store, top, "'path:.#it'")
    assert {"generated", "again"} <= {path.name for path in needs.paths}
    feed(nix, elsewhere, store, needs)
    fresh = with_new_home(nix, tmp_path / "second-home")
    no_builds = ("--option", "max-jobs", "0", "--option", "builders", "")
    attribute = f"path:{top}#it.drvPath"
    assert evaluate_offline(fresh, elsewhere, attribute, *no_builds) == evaluated.root


async def test_a_derivation_needs_no_evaluation(
    nix: Nix, store: StoreLocation, scratch_store: ScratchStore, tmp_path: Path
) -> None:
    (tmp_path / "it.nix").write_text(f'let {MADE} in made "it" {{ }}')
    root = run(nix, "nix-instantiate", str(tmp_path / "it.nix"), store=scratch_store)
    _, needs = await needs_of(nix, store, tmp_path, root.stdout.strip())
    assert needs == EvaluationNeeds()


async def test_what_nix_remembers_hides_nothing(
    nix: Nix,
    store: StoreLocation,
    scratch_store: ScratchStore,
    tmp_path: Path,
    served: tuple[Path, str],
) -> None:
    """A second evaluation, with all caches of Nix filled, tells the same as the first."""
    directory, url = served
    library = flake(directory / "library", '{ outputs = { self }: { x = "library"; }; }')
    (library / "default.nix").write_text('"fetched"')
    archive(library, directory / "library.tar.gz")
    shutil.copy(directory / "library.tar.gz", directory / "again.tar.gz")
    tree_hash = run(nix, "nix", "hash", "path", str(library)).stdout.strip()
    top = flake(
        tmp_path / "top",
        f"""{{ inputs.library.url = "{url}/library.tar.gz";
        outputs = {{ self, library }}: let {MADE} in {{
          packages.x86_64-linux.it = made "it" {{
            library = library.x;
            fetched = import (builtins.fetchTarball {{
              name = "fetched"; url = "{url}/library.tar.gz"; sha256 = "{tree_hash}";
            }});
            value = import (made "generated" {{ args = [ "-c" "echo '\\"value\\"' > $out" ]; }});
          }};
        }}; }}""",
    )
    (tmp_path / "it.nix").write_text(
        f'let {MADE} in {{ it = made "it" {{ x = import (fetchTarball "{url}/again.tar.gz"); }}; }}'
    )
    lock(nix, top, scratch_store)
    subprocess.run(["git", "init", "--quiet", str(top)], check=True)
    subprocess.run(["git", "-C", str(top), "add", "."], check=True)
    git = ["git", "-C", str(top), "-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run([*git, "commit", "--quiet", "-m", "first"], check=True)
    expected = {
        f"git+file://{top}#it": {"fetched", "generated", "source"},
        "./it.nix#it": {"source"},
    }
    for line, names in expected.items():
        _, first = await needs_of(nix, store, tmp_path, f"'{line}'")
        _, second = await needs_of(nix, store, tmp_path, f"'{line}'")
        assert first == second
        assert {path.name for path in first.paths} == names
