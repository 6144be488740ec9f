"""Each module can be the first one that is imported: no circle depends on who comes first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
IMPORT_EACH_FIRST = """
import importlib, sys
for name in sys.argv[1:]:
    for known in [each for each in sys.modules if each.partition(".")[0] == "mirror"]:
        del sys.modules[known]
    importlib.import_module(name)
"""


@pytest.mark.thorough
def test_each_module_can_be_imported_first() -> None:
    files = sorted((PROJECT / "mirror").rglob("*.py"))
    names = [".".join(file.relative_to(PROJECT).with_suffix("").parts) for file in files]
    modules = [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]
    assert "mirror.sources.local_store" in modules
    completed = subprocess.run(
        [sys.executable, "-c", IMPORT_EACH_FIRST, *modules],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr


def test_a_command_that_asks_nobody_does_not_wait_for_what_asks() -> None:
    modules = modules_after("import mirror.cli.commands.sync")
    assert "mirror.sync.workshop" in modules
    assert not {"httpx", "pycurl", "rich", "pygments"} & modules


def test_help_waits_for_no_command() -> None:
    modules = modules_after(
        "import sys, mirror.cli\n"
        "sys.argv = ['prefetch', '--help']\n"
        "try: mirror.cli.main()\n"
        "except SystemExit as ended: assert not ended.code"
    )
    assert "mirror.cli.commands" in modules
    assert not {each for each in modules if each.startswith("mirror.cli.commands.")}
    assert not {"mirror.nix", "mirror.sync", "mirror.formats", "mirror.planning"} & modules


def modules_after(program: str) -> set[str]:
    """The modules that Python has loaded once it has run the program."""
    said = f"{program}\nprint('loaded', *sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys\n{said}"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(ran.stdout.rpartition("loaded ")[2].split())
