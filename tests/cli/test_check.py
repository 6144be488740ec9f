"""``check`` as a person meets it, before and after what it warns of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rig.running import run

from mirror.formats.store_path import StorePath

if TYPE_CHECKING:
    from rig.shell import Shell

TOOL = "gettext-0.21"


def test_what_was_synced_is_ready_and_what_was_not_is_named(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop")
    (shell.directory / "cache").mkdir()
    (shell.directory / "cache/nix-cache-info").write_text("StoreDir: /nix/store\n")
    check = [*shell.command, "check", "hosts.txt", "--to", "cache", "--store", shell.store_url]
    before = shell.run(check, expect=1)
    assert "laptop: not ready" in before.stdout
    assert "prefetch sync hosts.txt --to cache" in before.stdout
    shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache"))
    asked = len(shell.upstream.requests)
    after = shell.run(check)
    assert after.stdout.startswith("laptop: ready")
    assert len(shell.upstream.requests) == asked, "nobody was asked"


def test_a_tool_that_is_gone_is_named_with_its_chain_and_its_cascade(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop")
    client = shell.scratch_store("client")
    sync = shell.arguments("sync", "hosts.txt", "--to", client.url)
    shell.run(sync)
    check = [*shell.command, "check", "hosts.txt", "--to", client.url]
    check += ["--store", shell.store_url, "--json"]
    assert shell.json(check)["targets"][0]["ready"] is True
    valid = run(shell.nix, "nix", "path-info", "--all", store=client).stdout.split()
    (tool,) = [path for path in valid if path.endswith(TOOL)]
    for link in (client.directory / "nix/var/nix/gcroots/prefetch").iterdir():
        link.unlink()
    manifests = [path for path in valid if "prefetch-laptop" in path]
    run(shell.nix, "nix-store", "--delete", *manifests, tool, store=client)
    (target,) = shell.json(check, expect=1)["targets"]
    assert [each["path"] for each in target["missing"]] == [tool]
    (missing,) = target["missing"]
    assert missing["path"] == tool
    assert missing["attribute"] == "pkgs.gettext"
    assert f"{tool} (pkgs.gettext)" in shell.run(check[:-1], expect=1).stdout
    assert [StorePath.parse(path).name for path in missing["needed_by"]] == [
        "nixos-system-laptop.drv",
        "activate.drv",
    ]
    said = run(
        shell.nix,
        *("nix-store", "--realise", "--dry-run", target_derivation(shell, tool)),
        store=client,
        config=["substitute = false"],
    ).stderr
    assert missing["cascade"] == said.count(".drv")
    shell.run(sync)
    assert shell.json(check)["targets"][0]["ready"] is True


def target_derivation(shell: Shell, path: str) -> str:
    """The derivation that makes a path, as the evaluating store has it."""
    derivations = [
        each
        for each in (shell.evaluation.directory / "nix/store").iterdir()
        if each.name.endswith(f"{TOOL}.drv") and path in each.read_text()
    ]
    return f"/nix/store/{derivations[0].name}"


def test_a_list_of_valid_paths_can_be_asked_about(shell: Shell) -> None:
    shell.write_list("laptop = DEMO#laptop")
    client = shell.scratch_store("client")
    shell.run(shell.arguments("sync", "hosts.txt", "--to", client.url))
    dump = run(shell.nix, "nix-store", "--dump-db", store=client).stdout
    (shell.directory / "dump").write_text(dump)
    plain = [line for line in dump.splitlines() if not line.endswith(TOOL)]
    (shell.directory / "plain").write_text("\n".join(plain))
    check = [*shell.command, "check", "hosts.txt", "--store", shell.store_url]
    shell.run([*check, "--valid-paths", "dump"])
    lacking = shell.run([*check, "--valid-paths", "plain"], expect=1)
    assert TOOL in lacking.stdout
    assert "prefetch sync" not in lacking.stdout
    (shell.directory / "empty").write_text("nothing here\n")
    assert "no store path" in shell.run([*check, "--valid-paths", "empty"], expect=2).stderr


def test_a_target_that_cannot_be_evaluated_offline_is_not_ready(shell: Shell) -> None:
    shell.write_list("broken = DEMO#no-such-host")
    (shell.directory / "cache").mkdir()
    (shell.directory / "cache/nix-cache-info").write_text("StoreDir: /nix/store\n")
    check = [*shell.command, "check", "hosts.txt", "--to", "cache", "--store", shell.store_url]
    failed = shell.run(check, expect=1)
    assert "cannot be evaluated offline" in failed.stdout
    document = json.loads(shell.run([*check, "--json"], expect=1).stdout)
    assert "no-such-host" in document["targets"][0]["problem"]
