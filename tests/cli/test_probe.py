"""``prefetch probe``: what a client's real Nix lacks for a mirror, and that the lines mend it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rig.client_machine import machine
from rig.made_paths import generation, input_addressed, put_as
from rig.servers import Server
from rig.serving import serve_directory

from mirror.destinations import CacheDirectory
from mirror.formats.signing import SecretKey, fingerprint
from mirror.formats.verifier import Claim
from mirror.planning.client_settings import Configured, in_force, lacking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from rig.client_machine import ClientMachine

__all__ = ["machine"]

UP, MIRROR = SecretKey.generate("up-1"), SecretKey.generate("mirror-1")
KEYS = f"extra-trusted-public-keys = {MIRROR.public} {UP.public}"


@pytest.fixture
async def cache(tmp_path: Path) -> Path:
    """A mirror's directory: one path has upstream's signature, the other the mirror's own."""
    async with CacheDirectory.open(tmp_path / "cache") as directory:
        vouched, kept = {}, []
        for name, key in (("one", UP), ("two", MIRROR)):
            made = input_addressed(name)
            signatures = (key.sign(fingerprint(made.info)),)
            info = replace(made.info, signatures=signatures)
            await put_as(directory, Claim(info=info), made.nar)
            vouched[key.public] = frozenset([made.path])
            kept.append(replace(made, info=info))
        await directory.keep(replace(generation(kept), vouched=vouched))
    return tmp_path / "cache"


@pytest.fixture
async def mirror(cache: Path) -> AsyncIterator[str]:
    async with serve_directory(cache) as served:
        yield served.url.rstrip("/")


async def test_a_client_with_the_right_settings_lacks_nothing(
    machine: ClientMachine, mirror: str
) -> None:
    machine.configure(f"extra-substituters = {mirror}/?priority=7", KEYS)
    said = await machine.probe(mirror, expect=0)
    assert said.splitlines() == [
        f"{mirror}: a binary cache, priority 30, wants mass queries",
        f"{machine.nix.full_name} uses it: number 1 of 1 cache",
        "what it serves is signed by mirror-1 (trusted), up-1 (trusted)",
    ]
    document = await machine.document(mirror, expect=0)
    assert document["used"] is True
    assert document["lacking"]["lines"] == []
    assert document["settings"]["place"] == 1


async def test_the_lines_that_are_lacking_are_those_that_mend_it(
    machine: ClientMachine, mirror: str
) -> None:
    said = await machine.probe(mirror, expect=1)
    lines = said.splitlines()
    assert "does not use it; its substituters are: none" in lines[1]
    assert lines[3] == f"lacking in {machine.system_file}:"
    document = await machine.document(mirror, expect=1)
    assert [f"  {each}" for each in document["lacking"]["lines"]] == lines[4:6]
    assert f'nix.settings.substituters = [ "{mirror}" ];' in document["lacking"]["nixos"]
    machine.configure(*document["lacking"]["lines"])
    assert (await machine.document(mirror, expect=0))["used"] is True


@pytest.mark.parametrize("has", ["cache", "keys", "one-key", "wrong-key"])
async def test_each_line_is_missed_by_itself(machine: ClientMachine, mirror: str, has: str) -> None:
    use = f"extra-substituters = {mirror}"
    wrong = SecretKey.generate("mirror-1").public
    settings = {
        "cache": (use,),
        "keys": (KEYS,),
        "one-key": (use, f"extra-trusted-public-keys = {UP.public}"),
        "wrong-key": (use, f"extra-trusted-public-keys = {UP.public} {wrong}"),
    }[has]
    machine.configure(*settings)
    document = await machine.document(mirror, expect=1)
    assert (
        document["lacking"]["lines"]
        == {
            "cache": [KEYS],
            "keys": [use],
            "one-key": [f"extra-trusted-public-keys = {MIRROR.public}"],
            "wrong-key": [f"extra-trusted-public-keys = {MIRROR.public}"],
        }[has]
    )
    assert document["lacking"]["outdated"] == (["mirror-1"] if has == "wrong-key" else [])
    said = await machine.probe(mirror, expect=1)
    assert ("another key of this name" in said) == (has == "wrong-key")
    machine.configure(*settings, *document["lacking"]["lines"])
    await machine.probe(mirror, expect=0)


async def test_a_cache_that_is_trusted_needs_no_key_and_one_that_is_off_is_no_use(
    machine: ClientMachine, mirror: str
) -> None:
    machine.configure(f"extra-substituters = {mirror}?trusted=true")
    assert "no signature is needed" in await machine.probe(mirror, expect=0)
    machine.configure(f"extra-substituters = {mirror}", KEYS, "substitute = false")
    document = await machine.document(mirror, expect=1)
    assert document["lacking"]["lines"] == ["substitute = true"]
    assert "uses no cache at all" in await machine.probe(mirror, expect=1)


async def test_the_users_own_settings_count_without_a_daemon_and_can_be_in_the_way(
    machine: ClientMachine, mirror: str
) -> None:
    use = f"extra-substituters = {mirror}"
    machine.configure(user=(use, KEYS))
    await machine.probe(mirror, expect=0)
    machine.configure(use, KEYS, user=("substituters =",))
    document = await machine.document(mirror, expect=1)
    assert document["lacking"]["lines"] == [use]
    assert document["lacking"]["file"] == str(machine.user_file)
    assert "replace them" in await machine.probe(mirror, expect=1)
    machine.configure(use, KEYS, user=("substituters =", use))
    await machine.probe(mirror, expect=0)


async def test_a_daemon_takes_no_caches_of_a_user_whom_it_does_not_trust(
    machine: ClientMachine, mirror: str
) -> None:
    use = f"extra-substituters = {mirror}"
    nobody = "trusted-users = nobody"
    machine.configure(nobody, user=(use, KEYS))
    machine.start_daemon()
    said = await machine.probe(mirror, expect=1)
    assert "root names it, and is not one of the daemon's trusted-users" in said
    assert f"lacking in {machine.system_file}:\n  {use}\n  {KEYS}\n" in said
    assert "then run: systemctl restart nix-daemon\n" in said
    assert "as powerful as root: extra-trusted-users = root\n" in said
    document = await machine.document(mirror, expect=1)
    assert document["nix"] == {
        "version": machine.nix.version_text,
        "store": machine.remote,
        "daemon": True,
        "user": "root",
        "trusted": False,
    }
    assert document["settings"]["ignored"] == [mirror]
    # What the daemon knows of, such a user may name.
    known = f"trusted-substituters = {mirror}/"
    for system in ((nobody, use, KEYS), (nobody, known, KEYS), ("trusted-users = @root",)):
        machine.configure(*system, user=(use, KEYS))
        machine.start_daemon()
        document = await machine.document(mirror, expect=0)
        assert document["nix"]["trusted"] == (nobody not in system)


async def test_what_is_no_cache_for_this_machine_is_said_with_the_reason(
    machine: ClientMachine, tmp_path: Path
) -> None:
    (tmp_path / "served").mkdir()
    async with Server(tmp_path / "served") as server:
        url = server.url
        machine.configure(f"extra-substituters = {url}")
        nothing = await machine.document(url, expect=1)
        (tmp_path / "served/nix-cache-info").write_text("StoreDir: /other/store\n")
        other = await machine.document(url, expect=1)
    down = await machine.document(url, expect=1)
    for document, away, words in (
        (nothing, False, "is not a binary cache"),
        (other, False, "is for the store directory '/other/store'"),
        (down, True, url),
    ):
        assert document["used"] is document["cache"]["usable"] is False
        assert document["cache"]["away"] is away
        assert words in document["cache"]["problem"]
        assert document["settings"]["place"] == 1
    assert f"{url}: cannot be used: " in await machine.probe(url, expect=1)


async def test_a_directory_is_a_cache_and_says_who_signed_what_it_has(
    machine: ClientMachine, cache: Path, tmp_path: Path
) -> None:
    url = cache.as_uri()
    document = await machine.document(str(cache), expect=1)
    assert document["lacking"]["lines"] == [f"extra-substituters = {url}", KEYS]
    machine.configure(*document["lacking"]["lines"])
    for name in (str(cache), url, f"../{cache.name}"):
        await machine.probe(name, expect=0)
    # Without its manifests, it has no keys, but names of them.
    (cache / "generations").rename(tmp_path / "elsewhere")
    await machine.probe(url, expect=0)
    machine.configure(f"extra-substituters = {url}")
    document = await machine.document(url, expect=1)
    assert document["lacking"]["signers"] == ["mirror-1", "up-1"]
    assert document["cache"]["keys"] is None
    said = await machine.probe(url, expect=1)
    assert "the public key of mirror-1, up-1, as extra-trusted-public-keys" in said


async def test_what_cannot_be_a_cache_is_an_error_of_the_request(machine: ClientMachine) -> None:
    await machine.probe("nothing", expect=2, said="there is no directory nothing")
    await machine.probe("s3://bucket", expect=2, said="not the URL of a binary cache")


async def test_a_server_that_is_not_ours_says_nothing_of_keys(
    machine: ClientMachine, tmp_path: Path
) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "served/nix-cache-info").write_text("StoreDir: /nix/store\n")
    keys = ('["a\\nb = c"]', "[5]", "[null]", "7")
    told = [f'{{"client": {{"keys": {each}}}}}' for each in keys]
    for status in (None, "<html>", "[]", "[" * 1_000_000, *told):
        if status is not None:
            (tmp_path / "served/status.json").write_text(status)
        async with Server(tmp_path / "served") as server:
            machine.configure(f"extra-substituters = {server.url}")
            said = await machine.probe(server.url, expect=0)
        assert "it does not say whose signatures its clients need" in said
        assert "does not want mass queries" in said


async def test_the_lines_are_for_the_file_that_is_read_and_written_by_hand(
    machine: ClientMachine, mirror: str
) -> None:
    custom = machine.system_file.with_name("nix.custom.conf")
    custom.touch()  # as Determinate Nix has it
    document = await machine.document(mirror, expect=1)
    assert document["lacking"]["file"] == str(custom)
    custom.unlink()
    machine.system_file.unlink()
    machine.system_file.symlink_to(f"/nix/store/{'0' * 32}-nix.conf")  # as NixOS has it
    said = await machine.probe(mirror, expect=1)
    lines = said.splitlines()
    start = lines.index("lacking in the NixOS configuration:")
    assert lines[start + 1] == f'  nix.settings.substituters = [ "{mirror}" ];'
    assert lines[start + 2].startswith('  nix.settings.trusted-public-keys = [ "mirror-1:')
    assert lines[start + 3] == "then run: nixos-rebuild switch"


@pytest.mark.parametrize("known", ["http://pi:80", "http://pi:80/"])
def test_a_restricted_user_has_the_caches_that_the_daemon_knows_and_its_keys(known: str) -> None:
    system = Configured(
        substituters=("https://own",),
        trusted_substituters=(known,),
        trusted_public_keys=("a:1",),
        require_sigs=True,
        substitute=True,
    )
    own = replace(
        system,
        substituters=("https://own", "http://pi:80", "http://pi:80?trusted=1"),
        trusted_public_keys=("a:1", "b:2"),
        require_sigs=False,
    )
    counting = in_force(own, system)
    assert counting.substituters == ("https://own", known)
    assert counting.ignored == ("http://pi:80?trusted=1",)
    assert (counting.keys, counting.require_sigs) == (("a:1",), True)
    missing = lacking("HTTP://PI:80", counting, in_force(system, None), keys=["b:2"])
    assert (missing.substituter, missing.keys) == (False, ("b:2",))
    assert not lacking("http://pi:80", in_force(own, None), counting, keys=["b:2", "c:3"])
