"""Certificates of a test's own: an authority that nobody knows, and servers that it vouches for."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from pathlib import Path

_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority, and a server of 127.0.0.1 and localhost that it vouches for.

    ``file`` has the authority's certificate, and so has ``directory``, by its hash.
    """

    file: Path
    directory: Path
    server_certificate: Path
    server_key: Path

    @classmethod
    def make(cls, directory: Path) -> Self:
        """Make both in a new directory."""
        authorities = directory / "authorities"
        authorities.mkdir(parents=True)
        file, key = authorities / "authority.pem", directory / "authority.key"
        made = cls(file, authorities, directory / "server.pem", directory / "server.key")
        _openssl(
            *("req", "-x509", *_KEY, "-subj", f"/CN={directory.name}", "-days", "2"),
            *("-keyout", str(key), "-out", str(file)),
        )
        _openssl(
            *("req", "-x509", *_KEY, "-subj", "/CN=server", "-days", "2"),
            *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
            *("-CA", str(file), "-CAkey", str(key)),
            *("-keyout", str(made.server_key), "-out", str(made.server_certificate)),
        )
        _openssl("rehash", str(authorities))
        return made

    @property
    def server_context(self) -> ssl.SSLContext:
        """What the server is started with."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.server_certificate, self.server_key)
        return context


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)
