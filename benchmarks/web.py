"""nginx on loopback, serving a directory: at once, or each answer after a pause."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from benchmarks.places import cached

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNPACKED: Final = "nginx"
"""Where tools/install-nix puts nginx."""

_CONFIGURATION: Final = """
{module}
{user}
daemon off;
worker_processes 1;
pid {scratch}/pid;
error_log {scratch}/errors crit;
events {{ worker_connections 4096; }}
http {{
  access_log {log};
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  default_type application/octet-stream;
  open_file_cache {open_files};
  client_body_temp_path {scratch}/body;
  proxy_temp_path {scratch}/proxy;
  fastcgi_temp_path {scratch}/fastcgi;
  uwsgi_temp_path {scratch}/uwsgi;
  scgi_temp_path {scratch}/scgi;
  server {{
    listen 127.0.0.1:{port} reuseport {tls};
    {locations}
  }}
}}
"""
_AT_ONCE: Final = "root {directory};"
_PAUSING: Final = """
    location / {{ echo_sleep {seconds}; echo_exec /files$request_uri; }}
    location /files/ {{ internal; alias {directory}/; }}
"""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate of 127.0.0.1 that vouches for itself, and its key."""

    file: Path
    key: Path

    @classmethod
    def make(cls, directory: Path) -> Self:
        """Make both in a directory."""
        made = cls(directory / "certificate.pem", directory / "key.pem")
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
                *("ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=benchmark"),
                *("-addext", "subjectAltName=IP:127.0.0.1"),
                *("-keyout", str(made.key), "-out", str(made.file)),
            ],
            check=True,
            capture_output=True,
        )
        return made

    @property
    def directives(self) -> str:
        """What nginx is told of it where it listens."""
        return f"ssl http2; ssl_certificate {self.file}; ssl_certificate_key {self.key}"


@contextlib.contextmanager
def nginx(
    directory: Path,
    *,
    pause_seconds: float = 0,
    log: Path | None = None,
    keeps_files_open: bool = False,
    certificate: Certificate | None = None,
) -> Iterator[str]:
    """Serve ``directory`` within the context, each answer after a pause; gives its URL.

    What it is asked is written to ``log``, if there is one. ``keeps_files_open``: it does not look
    again, for a while, whether a file is still the same. With a ``certificate`` it speaks HTTP/2.

    Raises:
        RuntimeError: there is no nginx, or it does not start.

    """
    program, modules = _program()
    port = _free_port()
    locations, module = _AT_ONCE, ""
    if pause_seconds:
        locations = _PAUSING
        module = f"load_module {modules / 'ngx_http_echo_module.so'};"
    with tempfile.TemporaryDirectory(prefix="prefetch-nginx-") as scratch:
        configuration = Path(scratch) / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                module=module,
                log=log or "off",
                tls="" if certificate is None else certificate.directives,
                open_files="max=65536" if keeps_files_open else "off",
                # It serves what only its user may read.
                user="user root;" if os.geteuid() == 0 else "",
                scratch=scratch,
                port=port,
                locations=locations.format(directory=directory, seconds=pause_seconds),
            )
        )
        command = [str(program), "-c", str(configuration), "-e", f"{scratch}/errors"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
            try:
                _wait_until_it_listens(server, port)
                yield f"http{'' if certificate is None else 's'}://127.0.0.1:{port}"
            finally:
                server.terminate()


def _program() -> tuple[Path, Path]:
    """The program, and the directory of its modules."""
    cache = cached(_UNPACKED)
    program = cache / "usr/sbin/nginx"
    if not program.exists():
        raise RuntimeError("there is no nginx: run tools/install-nix tests")
    return program, cache / "usr/lib/nginx/modules"


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port


def _wait_until_it_listens(server: subprocess.Popen[str], port: int) -> None:
    while server.poll() is None:
        with contextlib.suppress(ConnectionRefusedError), socket.socket() as tried:
            tried.connect(("127.0.0.1", port))
            return
        time.sleep(0.01)
    assert server.stderr is not None
    raise RuntimeError(f"nginx does not start: {server.stderr.read()}")
