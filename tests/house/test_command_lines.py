"""The units' command lines, and those of the module's settings, are ones that prefetch takes."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest
from rig.nixes import PROJECT

from mirror.cli.app import leaves

if TYPE_CHECKING:
    from pathlib import Path

    from rig.nixos import Module

PROGRAM = "/usr/local/bin/prefetch"
COMMANDS = dict(leaves())
PAGES = ("air-gap", "installing", "lan-mirror", "lists", "offline-proof", "unattended")
"""The pages that show commands."""
EVERY_SETTING = """
{
  services.prefetch = {
    enable = true;
    lists = [ "/etc/prefetch/hosts.txt" ];
    settings = {
      level = "full";
      jobs = 4;
      limitRate = "2M";
      build = true;
      signingKeyFile = "/etc/prefetch/key";
      onChange = "systemctl --user start told";
      extraArguments = [ "--no-archives" ];
    };
    prune = { enable = true; removed = true; };
    serve = {
      enable = true;
      addresses = [ "0.0.0.0" "::" ];
      priority = 20;
      title = "100% of $HOME";
      signingKeyFile = "/etc/prefetch/key";
    };
  };
}
"""
OF_A_STORE = EVERY_SETTING.replace("enable = true;", "enable = true; destination = null;", 1)


def parse(line: str) -> None:
    """Read a command line as the program does, and run nothing."""
    program, *words = shlex.split(line)
    assert program == PROGRAM
    name = next(each for each in COMMANDS if each == tuple(words[: len(each)]))
    COMMANDS[name].make_context(" ".join(name), words[len(name) :])


@pytest.mark.parametrize("name", ["prefetch-sync", "prefetch-prune", "prefetch-serve"])
def test_the_plain_units_call_prefetch_as_it_can_be_called(name: str) -> None:
    text = (PROJECT / f"docs/systemd/{name}.service").read_text()
    (line,) = [
        line.removeprefix("ExecStart=")
        for line in text.splitlines()
        if line.startswith("ExecStart=")
    ]
    parse(line)


@pytest.mark.parametrize("configuration", [EVERY_SETTING, OF_A_STORE])
def test_each_setting_of_the_module_is_an_option_of_prefetch(
    module: Module, configuration: str
) -> None:
    services = module.system(configuration)["systemd"]["services"]
    assert len(services) == 3
    for service in services.values():
        parse(service["serviceConfig"]["ExecStart"])


def called(page: Path) -> list[str]:
    """The command lines of a page's examples, typed at a prompt, in a script or in a crontab."""
    examples = re.findall(r"^```\w*\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    lines = (line.removeprefix("$ ") for example in examples for line in example.splitlines())
    return [
        line[line.index("prefetch ") :] for line in lines if line.startswith(("prefetch ", "30 "))
    ]


@pytest.mark.parametrize(
    "page",
    ["README.md", *(f"docs/{name}.md" for name in PAGES)],
)
def test_the_documentation_calls_prefetch_as_it_can_be_called(page: str) -> None:
    lines = called(PROJECT / page)
    assert lines
    for line in lines:
        command, _, _ = line.partition("  #")
        parse(command.replace("prefetch ", f"{PROGRAM} ", 1))
