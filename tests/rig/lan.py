"""Two hosts joined by a cable: network namespaces with a pair of virtual interfaces between them.

Neither reaches anything but the other. It takes root, and ``ip``.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

MIRROR, CLIENT, NOBODY = "192.0.2.1", "192.0.2.2", "192.0.2.3"


@dataclass(frozen=True)
class Lan:
    """What is put in front of a command, so that it runs on one of the hosts."""

    on_mirror: tuple[str, ...]
    on_client: tuple[str, ...]


@pytest.fixture
def lan() -> Iterator[Lan]:
    if os.geteuid() != 0:
        pytest.skip("only root can make network namespaces with names")
    names = [f"prefetch-{os.getpid()}-{part}" for part in ("mirror", "client")]
    addresses = (MIRROR, CLIENT)
    with contextlib.ExitStack() as stack:
        for name in names:
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "delete", name)
        mirror, client = names
        _ip("-n", mirror, "link", "add", "cable", "type", "veth", "peer", "cable", "netns", client)
        for name, address in zip(names, addresses, strict=True):
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            _ip("-n", name, "link", "set", "cable", "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield Lan(*(("ip", "netns", "exec", name) for name in names))


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
