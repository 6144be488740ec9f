"""What systemd hands to a service and wants to hear of it: sockets, and how it is going.

Sources: ``sd_listen_fds(3)``, ``sd_notify(3)``.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from typing import TYPE_CHECKING, Final

from mirror.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_FIRST: Final = 3
_COUNT: Final = re.compile("[0-9]{1,4}")


def inherited_sockets(environment: MutableMapping[str, str]) -> list[socket.socket]:
    """The listening sockets that systemd opened for this process; none without such.

    The variables that speak of them are taken away, so that no child believes they are its own.

    Raises:
        ToolError: what was handed over is something else.

    """
    process = environment.pop("LISTEN_PID", "")
    count = environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if process != str(os.getpid()) or not _COUNT.fullmatch(count):
        return []
    return [_listening(descriptor) for descriptor in range(_FIRST, _FIRST + int(count))]


def _listening(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        found = socket.socket(fileno=descriptor)
        is_listening = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ToolError(f"descriptor {descriptor} is not a socket: {error.strerror}") from error
    if not is_listening:
        raise ToolError(
            f"descriptor {descriptor} is a socket that does not accept connections",
            hint="the socket unit must have ListenStream= and Accept=no",
        )
    return found


def notify(environment: MutableMapping[str, str], state: str) -> None:
    """Tell systemd, if it listens, that the service is in a state: ``READY=1``, ``STOPPING=1``."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    # That nobody listens any more is no reason to stop.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        sender.sendall(state.encode())
