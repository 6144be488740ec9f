"""``verify`` as a person and a program meet it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from mirror.destinations import files
from mirror.formats.narinfo import parse_narinfo

if TYPE_CHECKING:
    from pathlib import Path

    from rig.shell import Shell


def flip(file: Path) -> bytes:
    """Change a byte in its middle; what it had."""
    data = file.read_bytes()
    half = len(data) // 2
    file.write_bytes(data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :])
    return data


def nar_of_hello(cache: Path) -> Path:
    """The NAR of a package that comes from upstream's cache alone."""
    entries = (parse_narinfo(file.read_bytes()) for file in sorted(cache.glob("*.narinfo")))
    hello = (each for each in entries if each.info.path.name.startswith("hello"))
    return cache / next(each.url for each in hello if each.info.signatures)


def test_damage_is_named_mended_and_gone(shell: Shell) -> None:
    cache = shell.directory / "cache"
    shell.write_list("hello = DEMO#hello level=runtime")
    shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache"))
    verify = [*shell.command, "verify", "cache"]
    well = shell.run(verify)
    assert well.stdout.startswith(f"no damage at {cache}: ")
    assert well.stderr == ""
    assert shell.run([*verify, "--quiet"]).stdout == ""
    nar = nar_of_hello(cache)
    file = str(nar.relative_to(cache))
    whole = flip(nar)
    (cache / "notes.txt").write_text("not ours")
    found = shell.run([*verify, "--quiet"], expect=1)
    assert found.stdout.startswith(f"damaged: {file}: ")
    assert found.stdout.endswith("; to repair it: prefetch verify cache --repair\n")
    assert "not part of the cache, and not read: notes.txt" in found.stderr
    document = shell.json([*verify, "--json"], expect=1)
    assert document["version"] == 1
    assert document["checked"]["bytes"] > len(whole)
    assert document["checked"]["paths"] == len(list(cache.glob("*.narinfo")))
    assert document["strays"] == ["notes.txt"]
    assert document["mending"] == "prefetch verify cache --repair"
    assert document["problem"] is None
    ((damage),) = document["damaged"]
    assert damage["file"] == file
    assert "hello" in damage["path"]
    assert damage["repaired"] is False
    assert damage["attempts"] == []
    repair = shell.arguments("verify", "--to", "cache", "--repair")
    nowhere = [*repair, "--json", "--jobs", "1"]
    nowhere[nowhere.index(shell.upstream.cache_url)] = "http://127.0.0.1:9/cache"
    document = shell.json(nowhere, expect=1)
    assert document["mending"] is None
    ((damage),) = document["damaged"]
    assert damage["repaired"] is False
    assert damage["set_aside"] == f".prefetch/damaged/{nar.name}"
    assert damage["attempts"][0]["source"] == "caches"
    assert damage["hint"] == "`prefetch sync` fetches it as soon as a source has it"
    assert not nar.exists()
    mended = shell.run(repair)
    assert mended.stdout.startswith(f"repaired: {file}: it is missing")
    assert f"obtained again from {shell.upstream.cache_url}/nar/" in mended.stdout
    assert mended.stdout.endswith("; 1 repaired\n")
    assert nar.read_bytes() == whole
    assert shell.run(verify).stdout == well.stdout
    assert not list((cache / ".prefetch/damaged").iterdir())


def test_what_only_a_sync_makes_anew_is_said(shell: Shell) -> None:
    cache = shell.directory / "cache"
    shell.write_list("hello = DEMO#hello level=runtime")
    sync = shell.arguments("sync", "hosts.txt", "--to", "cache")
    shell.run(sync)
    for name in ("generations/hello/1.json", "runs/hello.json"):
        flip(cache / name)
    found = shell.run([*shell.command, "verify", "cache"], expect=1).stdout
    assert found.endswith("; a repair cannot fix that: follow the hints above\n")
    whole = flip(nar_of_hello(cache))
    found = shell.run([*shell.command, "verify", "cache"], expect=1).stdout
    assert found.endswith("; to repair 1 of them: prefetch verify cache --repair\n")
    nar_of_hello(cache).write_bytes(whole)
    told = shell.run(shell.arguments("verify", "cache", "--repair"), expect=1).stdout
    assert "damaged: generations/hello/1.json: " in told
    assert "`prefetch sync` makes a new generation" in told
    assert "damaged: runs/hello.json: " in told
    # And so it is: until then a prune, which would not know what is kept, removes nothing.
    shell.run([*shell.command, "prune", "--to", "cache"], expect=3)
    for name in ("generations/hello/1.json", "runs/hello.json"):
        (cache / name).unlink()
    shell.run(sync)
    shell.run([*shell.command, "verify", "cache"])
    # What a run says that it kept is missed, also where nothing else is wrong.
    (cache / "generations/hello/1.json").unlink()
    found = shell.run([*shell.command, "verify", "cache"], expect=1).stdout
    assert "damaged: generations/hello/1.json: it is missing, and runs/hello.json na" in found
    shell.run(sync)
    shell.run([*shell.command, "verify", "cache"])


def test_a_damaged_run_record_stops_nothing(shell: Shell) -> None:
    record = shell.directory / "cache/runs/hello.json"
    shell.write_list("hello = DEMO#hello level=runtime")
    sync = shell.arguments("sync", "hosts.txt", "--to", "cache")
    shell.run(sync)
    flip(record)
    shown = shell.run([*shell.command, "roots", "--to", "cache"])
    assert "hello" in shown.stdout
    assert f"passed over: {record}: " in shown.stderr
    assert "remove the file, and sync again" in shown.stderr
    assert f"passed over: {record}: " in shell.run(sync).stderr
    shell.run([*shell.command, "verify", "cache"])


def test_nix_cache_info_is_mended_whatever_it_says(shell: Shell) -> None:
    cache = shell.directory / "cache"
    shell.write_list("hello = DEMO#hello level=runtime")
    shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache"))
    whole = (cache / "nix-cache-info").read_bytes()
    (cache / "nix-cache-info").write_bytes(whole.replace(b"/nix/store", b"/nix/stove"))
    assert (
        "damaged: nix-cache-info: "
        in shell.run([*shell.command, "verify", "cache"], expect=1).stdout
    )
    refused = shell.run(shell.arguments("sync", "hosts.txt", "--to", "cache"), expect=3)
    assert "`prefetch verify --repair` writes it again" in refused.stderr
    shell.run(shell.arguments("verify", "cache", "--repair"))
    assert (cache / "nix-cache-info").read_bytes() == whole


def test_a_cache_that_lost_its_nix_cache_info_is_still_one(shell: Shell) -> None:
    cache = shell.directory / "cache"
    shell.write_list("hello = DEMO#hello level=runtime")
    sync = shell.arguments("sync", "hosts.txt", "--to", "cache")
    shell.run(sync)
    whole = (cache / "nix-cache-info").read_bytes()
    (cache / "nix-cache-info").unlink()
    told = shell.run([*shell.command, "verify", "cache"], expect=1).stdout
    assert told.startswith("damaged: nix-cache-info: it is missing\n")
    shell.run(shell.arguments("verify", "cache", "--repair"))
    assert (cache / "nix-cache-info").read_bytes() == whole
    for again in (sync, [*shell.command, "prune", "--to", "cache"]):
        (cache / "nix-cache-info").unlink()
        shell.run(again)
        assert (cache / "nix-cache-info").read_bytes() == whole


def test_a_store_is_read_and_repaired(shell: Shell) -> None:
    client = shell.scratch_store("client")
    shell.write_list("hello = DEMO#hello level=runtime")
    shell.run(shell.arguments("sync", "hosts.txt", "--to", client.url))
    verify = [*shell.command, "verify", client.url]
    assert shell.run(verify).stdout.startswith(f"no damage at {client.url}: ")
    paths = client.directory.glob("nix/store/*-hello-*")
    path = next(each for each in paths if each.is_dir())
    file = next(each for each in sorted(path.rglob("*")) if each.is_file())
    mode = file.stat().st_mode
    file.chmod(0o644)
    whole = flip(file)
    file.chmod(mode)
    told = shell.run(verify, expect=1).stdout
    assert f"damaged: /nix/store/{path.name}: " in told
    assert told.count(f"/nix/store/{path.name}") == 2
    assert f"--store '{client.url}' --repair-path /nix/store/{path.name}" in told
    shell.run(shell.arguments("verify", client.url, "--repair"))
    assert file.read_bytes() == whole


def test_it_reads_beside_another_run_and_mends_alone(shell: Shell) -> None:
    cache = shell.directory / "cache"
    shutil.copytree(shell.upstream.cache_directory, cache)
    with files.locked(cache / ".prefetch/lock", "the test"):
        told = shell.run([*shell.command, "verify", "cache"])
        assert " without a checksum, written before there were any, " in told.stderr
        refused = shell.run([*shell.command, "verify", "cache", "--repair"], expect=3)
        assert "in use by another run" in refused.stderr


def test_what_was_found_is_told_also_where_it_cannot_be_mended(shell: Shell) -> None:
    cache = shell.directory / "cache"
    shutil.copytree(shell.upstream.cache_directory, cache)
    nar = next(iter(sorted((cache / "nar").iterdir())))
    flip(nar)
    repair = [*shell.arguments("verify", "cache", "--repair"), "--trusted-key", "no key"]
    failed = shell.run(repair, expect=2)
    assert failed.stdout.startswith(f"damaged: nar/{nar.name}: ")
    assert "not a public key: 'no key'" in failed.stderr


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (["no-such-cache"], 3, "there is no binary cache in"),
        (["cache", "--to", "cache"], 2, "two are given"),
        (["--to", "ftp://cache"], 2, "not a destination"),
        (["cache", "--jobs", "0"], 2, "--jobs"),
    ],
)
def test_what_cannot_be_read_is_said(shell: Shell, words: list[str], code: int, named: str) -> None:
    failed = shell.run([*shell.command, "verify", *words], expect=code)
    assert named in failed.stderr
    assert list(shell.directory.iterdir()) == []
