"""The systemd units: systemd's own verifier accepts them, and the module's are the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rig.nixes import PROJECT, missing
from rig.nixos import unit_texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rig.nixos import Module

UNITS = PROJECT / "docs/systemd"
UNATTENDED = PROJECT / "docs/unattended.md"
PROGRAM = "/usr/local/bin/prefetch"
NAMES = {
    *("prefetch-prune.service", "prefetch-prune.timer", "prefetch-serve.service"),
    *("prefetch-serve.socket", "prefetch-sync.service", "prefetch-sync.timer"),
}
SAME_AS_PLAIN = """
{
  services.prefetch = {
    enable = true;
    lists = [ "/etc/prefetch/hosts.txt" ];
    prune.enable = true;
    serve = { enable = true; socketActivation = true; addresses = [ "::" ]; };
  };
}
"""
OTHERWISE = """
{
  services.prefetch = {
    enable = true;
    targets.laptop = "/etc/nixos#laptop";
    destination = "/srv/cache";
    settings = {
      signingKeyFile = "/root/key";
      onChange = "echo \\"100%\\" of $HOSTNAME";
    };
    timer = { onCalendar = "*:0/15"; randomizedDelaySec = "1min 30s"; persistent = false; };
    prune.enable = true;
    serve.enable = true;
  };
}
"""
OF_A_STORE = """
{
  services.prefetch = {
    enable = true;
    lists = [ "/etc/prefetch/hosts.txt" ];
    destination = null;
    prune.enable = true;
    serve = { enable = true; signingKeyFile = "/root/key"; };
  };
}
"""
SEVERAL_WORDS = """
{
  services.prefetch = {
    enable = true;
    lists = [ "/etc/prefetch/hosts.txt" ];
    destination = "/srv/my \\"100%\\" $x";
    user = "root";
    group = "root";
    prune.enable = true;
    serve.enable = true;
  };
}
"""
# NixOS says by other means where programs are, and enables either the service or its socket.
NIXOS_OTHERWISE = {
    ("prefetch-serve.service", "Install", "WantedBy"),
}


@pytest.fixture(scope="session")
def analyze() -> str:
    """systemd-analyze; it needs no systemd that runs."""
    program = shutil.which("systemd-analyze")
    if program is None:
        missing("there is no systemd-analyze: tools/install-nix tests installs it")
    return program


def plain() -> dict[str, str]:
    return {
        file.name: file.read_text()
        for file in UNITS.iterdir()
        if file.suffix in {".service", ".socket", ".timer"}
    }


def written(units: Mapping[str, str], directory: Path) -> list[str]:
    """Write units that run this prefetch, since a program that is not there is refused."""
    directory.mkdir(exist_ok=True)
    program = Path(sys.executable).with_name("prefetch")
    assert program.exists()
    for name, text in units.items():
        (directory / name).write_text(text.replace(PROGRAM, str(program)))
    return sorted(str(directory / name) for name in units)


def complaints(analyze: str, units: Mapping[str, str], directory: Path) -> str:
    """What systemd says of units; nothing where all is well."""
    completed = subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no", *written(units, directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    # Some of it is said with an exit status of 0.
    return completed.stderr or ("" if completed.returncode == 0 else "it failed")


def exposure(analyze: str, units: Mapping[str, str], name: str, directory: Path) -> float:
    """How exposed systemd finds a service to be, from 0 (not at all) to 10."""
    written(units, directory)
    completed = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", str(directory / name)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(rf"level for {re.escape(name)}: ([0-9.]+)", completed.stdout)
    assert found is not None, completed.stdout
    return float(found[1])


def settings(text: str) -> dict[tuple[str, str], list[str]]:
    """A unit's settings, each with its values in order; where programs are found is left out."""
    section = ""
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            values = value.split() if name in {"After", "Wants"} else [value]
            found[section, name] += [each for each in values if not each.startswith("PATH=")]
    return {key: sorted(values) for key, values in found.items()}


def quoted_exposures() -> dict[str, float]:
    """What the documentation says."""
    row = re.compile(r"^\| `(prefetch-\w+\.service)` \| ([0-9.]+) ", re.MULTILINE)
    found = row.findall(UNATTENDED.read_text())
    return {name: float(level) for name, level in found}


def test_the_plain_units_are_verified(analyze: str, tmp_path: Path) -> None:
    assert plain().keys() == NAMES
    assert complaints(analyze, plain(), tmp_path / "units") == ""


@pytest.mark.parametrize("configuration", [SAME_AS_PLAIN, OTHERWISE, OF_A_STORE, SEVERAL_WORDS])
def test_the_modules_units_are_verified(
    analyze: str, module: Module, tmp_path: Path, configuration: str
) -> None:
    units = unit_texts(module.system(configuration))
    assert units.keys() >= NAMES - {"prefetch-serve.socket"}
    assert complaints(analyze, units, tmp_path / "units") == ""


def test_the_modules_units_are_the_plain_ones(module: Module) -> None:
    units = unit_texts(module.system(SAME_AS_PLAIN))
    for name, text in plain().items():
        expected = {
            key: value
            for key, value in settings(text).items()
            if (name, *key) not in NIXOS_OTHERWISE
        }
        assert settings(units[name]) == expected, name


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a directory that is another user's")
def test_the_user_and_the_directory_for_roots_are_made(analyze: str, tmp_path: Path) -> None:
    for kind in ("sysusers", "tmpfiles"):
        directory = tmp_path / f"etc/{kind}.d"
        directory.mkdir(parents=True)
        shutil.copy(UNITS / f"{kind}.conf", directory / "prefetch.conf")
    for command in (["sysusers"], ["tmpfiles", "--create"]):
        program, *options = command
        beside = Path(analyze).with_name(f"systemd-{program}")
        subprocess.run([beside, f"--root={tmp_path}", *options], check=True)
    name, _, user, *_ = (tmp_path / "etc/passwd").read_text().split(":")
    made = (tmp_path / "nix/var/nix/gcroots/prefetch").stat()
    assert (name, int(user), 0o40755) == ("prefetch", made.st_uid, made.st_mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a directory that is root's")
def test_a_destination_of_several_words_is_made(
    analyze: str, module: Module, tmp_path: Path
) -> None:
    rules = tmp_path / "etc/tmpfiles.d/prefetch.conf"
    rules.parent.mkdir(parents=True)
    rules.write_text("\n".join(module.system(SEVERAL_WORDS)["systemd"]["tmpfiles"]["rules"]) + "\n")
    program = Path(analyze).with_name("systemd-tmpfiles")
    subprocess.run([program, f"--root={tmp_path}", "--create"], check=True)
    assert [each.name for each in (tmp_path / "srv").iterdir()] == ['my "100%" $x']


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("prefetch-sync.service", "ProtectSystem=strict", "ProtectSytem=strict"),
        ("prefetch-sync.service", "ProtectSystem=strict", "ProtectSystem=very"),
        ("prefetch-sync.service", "@system-service", "@system-services"),
        ("prefetch-sync.service", "Type=oneshot", "Type=onceshot"),
        ("prefetch-serve.service", f"ExecStart={PROGRAM}", "ExecStart=/nowhere/prefetch"),
        ("prefetch-serve.service", f"ExecStart={PROGRAM}", "ExecStart=prefetch/"),
        ("prefetch-serve.service", "RestartSec=30s", "RestartSec=soon"),
        ("prefetch-serve.socket", "ListenStream=[::]:8080", "ListenStream=[::]:80800"),
        ("prefetch-sync.timer", "OnCalendar=03:30", "OnCalendar=at night"),
        ("prefetch-prune.timer", "[Timer]", "[Timers]"),
    ],
)
def test_a_broken_unit_is_found_out(
    analyze: str, tmp_path: Path, name: str, right: str, wrong: str
) -> None:
    units = plain()
    assert right in units[name]
    units[name] = units[name].replace(right, wrong)
    assert complaints(analyze, units, tmp_path / "units") != ""


def test_no_service_is_more_exposed_than_the_documentation_says(
    analyze: str, tmp_path: Path
) -> None:
    quoted = quoted_exposures()
    services = {name for name in NAMES if name.endswith(".service")}
    assert quoted.keys() == services
    for name in services:
        # Other versions of systemd weigh a little otherwise.
        found = exposure(analyze, plain(), name, tmp_path / "units")
        assert found == pytest.approx(quoted[name], abs=0.3), name


def test_what_is_no_longer_denied_is_noticed(analyze: str, tmp_path: Path) -> None:
    units = plain()
    name = "prefetch-sync.service"
    units[name] = units[name].replace("CapabilityBoundingSet=\n", "")
    assert exposure(analyze, units, name, tmp_path / "units") > quoted_exposures()[name] + 0.3
