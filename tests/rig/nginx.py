"""nginx with a configuration of a test's own, at a free port of the loopback."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rig.unpacked import unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What Debian's own nginx.conf has, with files of the test's own.
_HTTP: Final = """
http {{
    types {{ text/html html; application/json json; application/gzip gz; }}
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {text}
}}
"""


def program() -> str:
    """nginx, or the test is skipped."""
    return unpacked("nginx", "nginx", "usr/sbin/nginx")


def of_http(text: str) -> str:
    """A configuration with ``text`` in its ``http``."""
    return _HTTP.format(text=text)


def of_stream(text: str) -> str:
    """A configuration with ``text`` in its ``stream``, for which Debian's nginx needs a module."""
    module = Path(program()).parents[1] / "lib/nginx/modules/ngx_stream_module.so"
    return f"load_module {module};\nstream {{ {text} }}"


def configure(directory: Path, text: str) -> list[str]:
    """Write a configuration to a new directory of the test's own; nginx's arguments for it."""
    directory.mkdir()
    # Below pytest's directories only their owner gets, who may be root.
    user = "user root;" if os.geteuid() == 0 else ""
    (directory / "nginx.conf").write_text(f"{user} daemon off; pid pid;\n{text}\nevents {{}}\n")
    return ["-e", "stderr", "-p", str(directory), "-c", "nginx.conf"]


@contextlib.contextmanager
def running(directory: Path, text: Callable[[int], str]) -> Iterator[int]:
    """Run nginx with the configuration for a port; the port, at which it can be asked at once."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        # nginx takes over a socket that it is told of so, which spares waiting until it listens.
        process = subprocess.Popen(
            [program(), *configure(directory, text(port))],
            env={**os.environ, "NGINX": f"{listening.fileno()};"},
            pass_fds=[listening.fileno()],
        )
    try:
        yield port
    finally:
        process.terminate()
        process.wait()
