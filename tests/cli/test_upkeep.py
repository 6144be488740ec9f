"""``prune``, ``sign`` and ``key show`` as a person and a program meet them."""

from __future__ import annotations

import fcntl
import shutil
from typing import TYPE_CHECKING

import pytest
from rig.running import collect_garbage, run

from mirror.destinations import files
from mirror.formats.narinfo import parse_narinfo

if TYPE_CHECKING:
    from pathlib import Path

    from rig.shell import Shell


def names_signing(cache: Path) -> set[tuple[str, ...]]:
    """Each set of key names that some path is signed with."""
    entries = [parse_narinfo(file.read_bytes()) for file in cache.glob("*.narinfo")]
    return {tuple(text.partition(":")[0] for text in each.info.signatures) for each in entries}


def sync(shell: Shell, *lines: str, options: tuple[str, ...] = ()) -> None:
    shell.write_list(*lines)
    shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache", *options))


def test_old_generations_are_named_and_go_with_what_only_they_needed(shell: Shell) -> None:
    cache = shell.directory / "cache"
    sync(shell, "host = DEMO#laptop")
    both = len(list(cache.glob("*.narinfo")))
    sync(shell, "host = DEMO#ledger")
    prune = [*shell.command, "prune", "--to", "cache", "--keep", "1"]
    ever = ["--keep-within", "999999w", "--grace", "999999w"]
    assert shell.json([*prune, *ever, "--json"])["dropped"] == []
    foreseen = shell.json([*prune, "--dry-run", "--json"])
    assert foreseen["dry_run"] is True
    assert [(each["target"], each["number"]) for each in foreseen["dropped"]] == [("host", 1)]
    assert [(each["target"], each["number"]) for each in foreseen["kept"]] == [("host", 2)]
    told = shell.run([*prune, "--dry-run"]).stdout.splitlines()
    assert told[0].startswith("host: generation 1 of ")
    assert "would be dropped" in told[0]
    assert told[1].endswith(" would stay: newest, last")
    assert "would be deleted" in told[2]
    assert len(list(cache.glob("*.narinfo"))) > both
    size = sum(file.stat().st_size for file in cache.rglob("*") if file.is_file())
    done = shell.json([*prune, "--json"])
    freed = size - sum(file.stat().st_size for file in cache.rglob("*") if file.is_file())
    assert done == {**foreseen, "dry_run": False}
    assert done["swept"]["bytes"] < freed, "and the manifest"
    generation = shell.json([*shell.command, "roots", "--to", "cache", "--json"])["generations"]
    assert [(each["target"], each["number"]) for each in generation] == [("host", 2)]
    assert len(list(cache.glob("*.narinfo"))) == generation[0]["paths"]
    assert shell.run(prune).stdout == f"nothing to prune at {cache}\n"
    assert shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache")).stdout.startswith(
        "nothing new"
    )


def test_the_calendar_and_the_size_choose(shell: Shell) -> None:
    cache = shell.directory / "cache"
    for package in ("laptop", "ledger", "calendar"):
        sync(
            shell,
            f"host = DEMO#{package}",
            *(["other = DEMO#ledger"] if package == "ledger" else []),
        )
    prune = [*shell.command, "prune", "--to", "cache", "--grace", "0s"]
    # All of one day: the newest of it stays.
    daily = shell.json([*prune, "--keep-daily", "7", "--dry-run", "--json"])
    stay = {(each["target"], each["number"]): each["reasons"] for each in daily["kept"]}
    assert stay == {
        ("host", 3): ["newest", "last", "daily"],
        ("other", 1): ["newest", "last", "daily"],
    }
    assert daily["max_size"] is None
    everything = shell.json([*prune, "--max-size", "1T", "--json"])
    assert len(everything["kept"]) == 4
    files = {file for pattern in ("*.narinfo", "nar/*") for file in cache.glob(pattern)}
    assert everything["max_size"] == {
        "limit_bytes": 10**12,
        "kept_bytes": sum(file.stat().st_size for file in files),
        "excess_bytes": 0,
    }
    limit = everything["max_size"]["kept_bytes"] - 1
    fitting = shell.json([*prune, "--max-size", str(limit), "--json"])
    assert [(each["target"], each["number"]) for each in fitting["dropped"]] == [("host", 1)]
    assert fitting["max_size"]["kept_bytes"] <= limit
    files = {file for pattern in ("*.narinfo", "nar/*") for file in cache.glob(pattern)}
    assert fitting["max_size"]["kept_bytes"] == sum(file.stat().st_size for file in files)
    unmet = shell.run([*prune, "--max-size", "1k"], expect=1)
    assert "host: generation 2 of " in unmet.stdout
    assert "--max-size 1.0 kB cannot be met" in unmet.stderr
    assert "not a size: 'much'" in shell.run([*prune, "--max-size", "much"], expect=2).stderr


def test_targets_that_left_the_list_are_named_and_go_only_when_told(shell: Shell) -> None:
    sync(shell, "one = DEMO#ledger", "two = DEMO#calendar")
    shell.write_list("one = DEMO#ledger")
    prune = [*shell.command, "prune", "hosts.txt", "--to", "cache"]
    told = shell.run(prune)
    assert told.stderr == "two is on none of the lists, and is kept; --removed removes it\n"
    assert told.stdout.startswith("nothing to prune")
    gone = shell.json([*prune, "--removed", "--json"])
    assert [each["target"] for each in gone["dropped"]] == ["two"]
    assert gone["unlisted"] == ["two"]
    assert gone["swept"]["paths"]
    refused = shell.run([*shell.command, "prune", "--to", "cache", "--removed"], expect=2)
    assert "--removed needs lists" in refused.stderr


def test_beside_a_server_it_says_what_is_held_back_and_until_when(shell: Shell) -> None:
    sync(shell, "host = DEMO#calendar")
    sync(shell, "host = DEMO#ledger")
    prune = [*shell.command, "prune", "--to", "cache", "--keep", "1"]
    with (shell.directory / "cache/.prefetch/serving").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert "held back for clients of the running server: " in shell.run(prune).stdout
        held = shell.json([*prune, "--grace", "2h", "--json"])["swept"]["held_back"]
        assert held["paths"] > 0
        assert shell.json([*prune, "--grace", "0s", "--json"])["swept"]["held_back"] is None
    assert shell.run(prune).stdout.startswith("nothing to prune")


def test_a_stores_generations_go_and_nix_frees_the_rest(shell: Shell) -> None:
    client = shell.scratch_store("client")
    for line in ("host = DEMO#calendar", "host = DEMO#ledger"):
        shell.write_list(line)
        shell.run(shell.arguments("sync", "hosts.txt", "--to", client.url))
    prune = [*shell.command, "prune", "--to", client.url, "--keep", "1"]
    assert "`nix-collect-garbage` would then free " in shell.run([*prune, "--dry-run"]).stdout
    before = collect_garbage(shell.nix, client)
    told = shell.json([*prune, "--json"])
    assert told["swept"] is None
    freed = before - collect_garbage(shell.nix, client)
    manifest = {path for path in freed if "-prefetch-host-1.json" in path}
    assert len(freed - manifest) == told["collectable"]["paths"] > 0
    assert shell.run(prune).stdout.startswith("nothing to prune")


def test_keys_are_changed_with_no_time_without_a_signature(shell: Shell) -> None:
    cache = shell.directory / "cache"
    keys = [
        shell.run([*shell.command, "key", "generate", name, name]).stdout.strip()
        for name in ("mirror-1", "mirror-2")
    ]
    assert shell.run([*shell.command, "key", "show", "mirror-1"]).stdout.strip() == keys[0]
    sync(shell, "laptop = DEMO#laptop", options=("--build", "--signing-key", "mirror-1"))
    assert (cache / "public-keys").read_text() == f"{keys[0]}\n"
    upstream = shell.upstream.public_key.partition(":")[0]
    assert names_signing(cache) == {("mirror-1",), (upstream,)}
    sign = [*shell.command, "sign", "--to", "cache", "--signing-key", "mirror-2"]
    assert "0 paths would be signed with mirror-2" in shell.run([*sign, "--dry-run"]).stdout
    assert (cache / "public-keys").read_text() == f"{keys[0]}\n"
    told = shell.run(sign).stdout
    assert "signed with earlier keys only; --all signs them, too" in told
    drop = [*shell.command, "prune", "--to", "cache", "--old-signatures"]
    assert "prefetch sign --all" in shell.run(drop, expect=1).stderr
    assert names_signing(cache) == {("mirror-1",), (upstream,)}
    document = shell.json([*sign, "--all", "--json"])
    assert document["signed"] > 0
    assert document["upstream"] > 0
    assert names_signing(cache) == {("mirror-1", "mirror-2"), (upstream,)}
    told = shell.run([*drop, "--dry-run"]).stdout
    assert "mirror-1 would be forgotten" in told
    removed = shell.json([*drop, "--json"])["signatures"]
    assert removed == {
        "newest": keys[1],
        "paths": document["signed"],
        "left": 0,
        "forgotten": [keys[0]],
    }
    assert names_signing(cache) == {("mirror-2",), (upstream,)}
    assert (cache / "public-keys").read_text() == f"{keys[1]}\n"
    client = shell.scratch_store("client")
    (generation,) = shell.json([*shell.command, "roots", "--to", "cache", "--json"])["generations"]
    out = run(
        shell.nix,
        *("nix-store", "--query", "--outputs", generation["root"]),
        store=shell.evaluation,
    ).stdout.strip()
    copy = ("nix", "copy", "--from", f"file://{cache}", "--to", client.url, out)
    run(
        shell.nix,
        *copy,
        config=[f"trusted-public-keys = {shell.upstream.public_key} {keys[1]}"],
        offline=True,
    )


def test_signing_in_a_store_is_nixs_own_work(shell: Shell) -> None:
    shell.run([*shell.command, "key", "generate", "mirror-1", "secret"])
    store = shell.scratch_store("store")
    run(shell.nix, "nix-store", "--gc", "--print-roots", store=store)
    sign = [*shell.command, "sign", "--to", store.url, "--signing-key", "secret"]
    refused = shell.run(sign, expect=2).stderr
    hint = f"nix store sign --store '{store.url}' --key-file secret --all"
    assert hint in refused
    run(shell.nix, "sh", "-c", f"cd {shell.directory} && {hint}")
    drop = [*shell.command, "prune", "--to", store.url, "--old-signatures"]
    assert "is a Nix store" in shell.run(drop, expect=2).stderr


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (["prune", "--to", "no-such-cache"], 3, "there is no binary cache in"),
        (["prune", "--to", "cache", "--keep", "0"], 2, "--keep"),
        (["prune", "--to", "cache", "--keep-within", "a month"], 2, "not an age: 'a month'"),
        (["prune", "--to", "cache", "--grace", "1 hour"], 2, "not an age: '1 hour'"),
        (["prune", "no-such-list", "--to", "cache"], 2, "no-such-list"),
        (["sign", "--to", "cache"], 2, "--signing-key"),
        (["serve", "no-such-cache"], 3, "there is no binary cache in"),
        (["serve", "cache", "--listen", ""], 2, "not an address to listen on: ''"),
        (["sign", "--to", "cache", "--signing-key", "none"], 2, "the signing key none"),
        (["key", "show", "none"], 2, "none"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_made(
    shell: Shell, words: list[str], code: int, named: str
) -> None:
    failed = shell.run([*shell.command, *words], expect=code)
    assert named in failed.stderr
    assert list(shell.directory.iterdir()) == []


def test_while_another_run_writes_it_can_only_be_looked_at(shell: Shell) -> None:
    cache = shell.directory / "cache"
    shutil.copytree(shell.upstream.cache_directory, cache)
    prune = [*shell.command, "prune", "--to", "cache"]
    with files.locked(cache / ".prefetch/lock", "the test"):
        assert "in use by another run" in shell.run(prune, expect=3).stderr
        shell.run([*prune, "--dry-run"])


def test_a_cache_of_which_nothing_was_ever_kept_is_left_alone(shell: Shell) -> None:
    cache = shell.directory / "cache"
    shutil.copytree(shell.upstream.cache_directory, cache)
    before = {file: file.read_bytes() for file in cache.rglob("*") if file.is_file()}
    told = shell.run([*shell.command, "prune", "--to", "cache"])
    assert told.stdout == f"{cache} keeps no generation: nothing to prune\n"
    assert {file: file.read_bytes() for file in before} == before
