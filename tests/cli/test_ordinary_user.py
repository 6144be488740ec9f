"""The offline commands as an ordinary user has them, who needs user namespaces for them."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from rig.running import ScratchStore
from rig.shell import Shell

from mirror.nix.stores import remove_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig.forked import Forking

    from mirror.demo.upstream import Upstream
    from mirror.nix.command import Nix

LIST: Final = "laptop = ./distribution#laptop edits=hosts,dnsmasq\n"
IN_A_CHROOT: Final = 'mount --rbind / "$0" && exec chroot "$0" "$@"'
"""A shell's command: there the kernel refuses user namespaces, as some machines do everywhere."""


@pytest.fixture
def account() -> pwd.struct_passwd:
    """Somebody who is neither root nor, like nobody, nowhere in a user namespace."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    return next(each for each in pwd.getpwall() if 0 < each.pw_uid < 1000)


@pytest.fixture
def become(account: pwd.struct_passwd) -> list[str]:
    """What is put before a command, so that it is the user's."""
    if os.geteuid() != 0:
        return []
    return [
        "setpriv",
        *(f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"),
        # Wherever the tests are, their user may read them. This ends with a user namespace.
        *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
    ]


@pytest.fixture
def user(
    forking: Forking,
    nix_stable: Nix,
    upstream: Upstream,
    account: pwd.struct_passwd,
    become: list[str],
) -> Iterator[Shell]:
    """A user in a directory of their own, which pytest's directories let nobody have."""
    tried = subprocess.run(
        [*become, "unshare", "--user", "--net", "true"], capture_output=True, check=False
    )
    if tried.returncode != 0:
        pytest.skip(f"ordinary users cannot have namespaces here: {tried.stderr.decode().strip()}")
    directory = Path(tempfile.mkdtemp(prefix="prefetch-test-"))
    for name in ("home", "temporary"):
        (directory / name).mkdir()
    shutil.copytree(upstream.distribution, directory / "distribution")
    (directory / "hosts.txt").write_text(LIST)
    for path in (directory, *directory.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid)
    yield Shell(
        forking=forking,
        nix=nix_stable,
        upstream=upstream,
        directory=directory,
        evaluation=ScratchStore(directory / "evaluation"),
    )
    remove_store(directory)


def at_home(user: Shell) -> list[str]:
    """What is put before a command, so that its home is the user's."""
    home = user.directory / "home"
    kinds = ("CACHE", "CONFIG", "DATA", "STATE")
    directories = [f"XDG_{kind}_HOME={home}/{kind.lower()}" for kind in kinds]
    return [
        *("env", f"--chdir={user.directory}"),
        *(f"HOME={home}", f"TMPDIR={user.directory}/temporary", *directories),
    ]


def command(user: Shell, name: str) -> list[str]:
    return [*user.command, name, "hosts.txt", "--to", "cache", "--store", user.store_url]


def test_an_ordinary_user_rehearses_without_a_network(user: Shell, become: list[str]) -> None:
    become = [*at_home(user), *become]
    user.run([*become, *user.arguments("sync", "hosts.txt", "--to", "cache")])
    asked = len(user.upstream.requests)
    checked = user.run([*become, *command(user, "check")])
    assert checked.stdout.startswith("laptop: ready, ")
    lines = user.run([*become, *command(user, "rehearse")]).stdout.splitlines()
    assert lines[0].startswith("laptop: rehearsed, builds without a network (")
    assert lines[2].startswith("laptop with dnsmasq: rehearsed, builds without a network (")
    assert len(user.upstream.requests) == asked, "nobody was asked"
    assert list((user.directory / "temporary").iterdir()) == []
    roots = user.run([*become, *user.command, "roots", "--to", "cache"])
    assert "rehearsed 20" in roots.stdout


def test_a_destination_that_is_not_the_users_is_named(user: Shell, become: list[str]) -> None:
    become = [*at_home(user), *become]
    (user.directory / "hosts.txt").write_text("curl = ./distribution#curl level=runtime\n")
    others = user.directory / "others"
    others.mkdir()
    sync = user.arguments("sync", "hosts.txt", "--to", "others/cache")

    def allow(mode: int) -> None:
        for each in (others, *others.rglob("*/")):
            each.chmod(mode)

    for _ in range(2):  # where there is no cache yet, and where there is one
        allow(0o555)
        refused = user.run([*become, *sync], expect=3).stderr
        assert f"{others}/cache" in refused
        assert "Permission denied" in refused
        assert "run as a user who may read and write there" in refused
        allow(0o755)
        user.run(sync)
    shown = user.run([*become, *user.command, "roots", "--to", "others/cache"])
    assert "\ncurl " in shown.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have a place that forbids them")
@pytest.mark.parametrize("name", ["check", "rehearse"])
def test_where_user_namespaces_are_forbidden_it_is_said_what_to_do(
    user: Shell, become: list[str], name: str
) -> None:
    (user.directory / "root").mkdir()
    (user.directory / "cache").mkdir()
    (user.directory / "cache/nix-cache-info").write_text("StoreDir: /nix/store\n")
    chroot = ["unshare", "--mount", "sh", "-c", IN_A_CHROOT, str(user.directory / "root")]
    inside = [*at_home(user), *become, *command(user, name)]
    refused = user.run([*chroot, *inside], expect=3)
    assert "cannot be run without a network here" in refused.stderr
    assert "run it as root, or let ordinary users make user namespaces" in refused.stderr
