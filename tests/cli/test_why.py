"""``why`` as a person meets it: what leads to a path, what asked for it, how large it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from rig.running import ScratchStore, run
from rig.shell import Shell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig.forked import Forking

    from mirror.demo.upstream import Upstream
    from mirror.nix.command import Nix

TOOL = "gettext-0.21"


@pytest.fixture(scope="module")
def synced(
    forking: Forking,
    nix_stable: Nix,
    upstream: Upstream,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shell]:
    """A user who keeps a laptop with its edits, and the sources of one tool; only looked at."""
    directory = tmp_path_factory.mktemp("user")
    evaluation = ScratchStore(directory / "evaluation")
    shell = Shell(
        forking=forking,
        nix=nix_stable,
        upstream=upstream,
        directory=directory,
        evaluation=evaluation,
    )
    shell.write_list("laptop = DEMO#laptop edits=hosts,dnsmasq sources=gettext")
    shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache"))
    yield shell
    evaluation.remove()


def why(shell: Shell, *words: str) -> list[str]:
    return [*shell.command, "why", *words, "--to", "cache", "--store", shell.store_url]


def explained(shell: Shell, path: str, *words: str) -> Any:
    document = shell.json(why(shell, "laptop", path, "--list", "hosts.txt", "--json", *words))
    assert document["target"] == "laptop"
    return document["paths"]


def relations(chain: Any) -> list[str]:
    return [step["relation"] for step in chain["steps"]]


def test_the_shortest_chain_what_asked_for_it_and_its_size_are_told(synced: Shell) -> None:
    target = f"path:{synced.upstream.distribution}#laptop"
    asked = len(synced.upstream.requests)
    lines = synced.run(why(synced, target, TOOL)).stdout.splitlines()
    assert len(synced.upstream.requests) == asked, "nobody was asked"
    assert lines[0] == target
    assert lines[1].startswith("  is built with /nix/store/")
    assert lines[1].endswith("-activate.drv")
    assert lines[2].startswith("    is built with /nix/store/")
    assert lines[2].endswith(TOOL)
    assert lines[3] == "asked for by level=rebuild"
    assert lines[4].endswith("with its closure")
    assert len(lines) == 5


def test_sizes_are_nix_own(synced: Shell) -> None:
    (reason,) = explained(synced, "libresolve-4.4")
    cache = f"file://{synced.directory}/cache"
    said = run(
        synced.nix, "nix", "path-info", "--store", cache, "--json", "--closure-size", reason["path"]
    )
    (info,) = json.loads(said.stdout)
    assert reason["nar_bytes"] == info["narSize"]
    assert reason["closure_bytes"] == info["closureSize"] > info["narSize"]


def test_run_time_and_build_time_are_told_apart(synced: Shell) -> None:
    # A library that nothing is built with here, but that a package refers to.
    (reason,) = explained(synced, "libnet-0.9", "--all")
    assert reason["asked_by"] == ["level=rebuild"]
    assert all(relations(chain)[-1] == "refers to" for chain in reason["chains"])
    assert all(relations(chain)[0] == "is built with" for chain in reason["chains"])
    lengths = [len(chain["steps"]) for chain in reason["chains"]]
    assert lengths == sorted(lengths)
    (shortest,) = explained(synced, "libnet-0.9")
    assert shortest["chains"] == reason["chains"][:1]


def test_what_an_edit_alone_asks_for_is_said_to_be_the_edit_s(synced: Shell) -> None:
    (reason,) = explained(synced, "dnsmasq-check-2.90")
    assert reason["asked_by"] == ["edits=dnsmasq"]
    assert [chain["edit"] for chain in reason["chains"]] == ["dnsmasq"]
    lines = synced.run(why(synced, "laptop", "dnsmasq-check", "--list", "hosts.txt")).stdout
    assert lines.startswith("laptop with dnsmasq\n")
    assert "asked for by edits=dnsmasq\n" in lines
    # Without the list there is no edit, and nothing that leads to it.
    target = f"path:{synced.upstream.distribution}#laptop"
    assert "dnsmasq-check" in synced.run(why(synced, target, "dnsmasq-check"), expect=2).stderr


def test_what_only_a_raised_level_asks_for_is_said_to_be_its(synced: Shell) -> None:
    (reason,) = explained(synced, "gettext-0.21.tar.bz2")
    assert reason["asked_by"] == ["sources=gettext"]
    assert relations(reason["chains"][0])[-2:] == ["is built with", "is built with"]
    target = f"path:{synced.upstream.distribution}#laptop"
    lines = synced.run(why(synced, target, "gettext-0.21.tar.bz2")).stdout
    assert "not needed at level rebuild" in lines
    for level in ("sources", "full"):
        raised = synced.run(why(synced, f"{target} level={level}", "gettext-0.21.tar.bz2")).stdout
        assert f"asked for by level={level}\n" in raised


def test_derivations_are_kept_with_the_root_and_some_things_are_not_there(synced: Shell) -> None:
    (reason,) = explained(synced, f"{TOOL}.drv")
    assert reason["asked_by"] == ["level=rebuild"]
    (source,) = explained(synced, "libbase-1.2.tar.xz")
    assert source["asked_by"] == []
    assert source["nar_bytes"] is None
    lines = synced.run(why(synced, "laptop", "libbase-1.2.tar.xz", "--list", "hosts.txt")).stdout
    assert f"not at {synced.directory}/cache" in lines


def test_what_a_built_system_refers_to_is_asked_for_by_level_runtime(shell: Shell) -> None:
    shell.write_list("hello = DEMO#hello level=runtime")
    shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache"))
    words = ("hello", "busybox-1.36", "--list", "hosts.txt", "--json")
    (reason,) = shell.json(why(shell, *words))["paths"]
    assert reason["asked_by"] == ["level=runtime"]
    assert relations(reason["chains"][0]) == ["makes", "refers to"]
    lines = shell.run(why(shell, "hello", TOOL, "--list", "hosts.txt")).stdout
    assert "not needed at level runtime" in lines


FLAKE = """
{
  inputs.data = { url = "path:%s"; flake = false; };
  outputs = { self, data }: {
    packages.x86_64-linux.it = derivation {
      name = "it"; system = "x86_64-linux"; builder = "/bin/sh"; text = import data;
    };
  };
}
"""


def test_what_is_kept_for_evaluating_it_again_is_said_to_be(shell: Shell) -> None:
    (shell.directory / "data").mkdir()
    (shell.directory / "data/default.nix").write_text('"from data"')
    (shell.directory / "flake").mkdir()
    (shell.directory / "flake/flake.nix").write_text(FLAKE % (shell.directory / "data"))
    run(shell.nix, "nix", "flake", "lock", f"path:{shell.directory}/flake", store=shell.evaluation)
    shell.write_list("it = ./flake#it")
    shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache"))
    archive = ("nix", "flake", "archive", "--dry-run", "--json", f"path:{shell.directory}/flake")
    said = json.loads(run(shell.nix, *archive, store=shell.evaluation).stdout)
    data = said["inputs"]["data"]["path"]
    (reason,) = shell.json(why(shell, "it", data, "--list", "hosts.txt", "--json"))["paths"]
    assert reason["chains"] == [
        {"edit": None, "steps": [{"relation": "is evaluated with", "path": data}]}
    ]
    assert reason["asked_by"] == ["level=rebuild"]
    assert reason["nar_bytes"] > 0


def test_what_cannot_be_found_is_an_error_of_the_request(synced: Shell) -> None:
    unknown = synced.run(why(synced, "laptop", "no-such-thing", "--list", "hosts.txt"), expect=2)
    assert "no-such-thing" in unknown.stderr
    other = synced.run(why(synced, "desktop", TOOL, "--list", "hosts.txt"), expect=2)
    assert "hosts.txt has no target called desktop" in other.stderr
    assert "it has: laptop" in other.stderr
    unlisted = synced.run(why(synced, "laptop", TOOL), expect=2)
    assert "'laptop' is not an installable" in unlisted.stderr
    assert "--list LIST" in unlisted.stderr
    two = why(synced, "/one.nix\nb = /two.nix", "nothing")
    assert "not one target" in synced.run(two, expect=2).stderr
