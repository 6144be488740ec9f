"""Which certificates are trusted: those that Nix on this machine uses, else the system's."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Mapping

_OF_NIX: Final = "NIX_SSL_CERT_FILE"
_FILE: Final = "SSL_CERT_FILE"
_DIRECTORY: Final = "SSL_CERT_DIR"
_NONE: Final = "/no-cert-file.crt"
"""What nixpkgs' build environments, nix-shell among them, have where none is named."""
_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, NixOS, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine
    "/nix/var/nix/profiles/default/etc/ssl/certs/ca-bundle.crt",
)


@dataclass(frozen=True, slots=True)
class Certificates:
    """A file of certificates of authorities, and a directory of such, named by their hashes."""

    file: Path | None = None
    directory: Path | None = None


def certificates(
    setting: Path | None = None, environment: Mapping[str, str] = os.environ
) -> Certificates:
    """The certificates to go by; ``setting`` is Nix's ``ssl-cert-file``.

    In this order: the setting, ``NIX_SSL_CERT_FILE``, ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``, the
    system's bundle. None of any may be there, and no certificate is trusted then.

    Raises:
        ToolError: what is named so is not there, or cannot be read.

    """
    named = [("Nix's setting ssl-cert-file", setting)]
    named += [(name, _path(environment, name)) for name in (_OF_NIX, _FILE)]
    for name, file in named:
        if file is not None:
            _see(name, file)
            return Certificates(file, _path(environment, _DIRECTORY) if name == _FILE else None)
    directory = _path(environment, _DIRECTORY)
    if directory is not None:
        _see(_DIRECTORY, directory)
        return Certificates(directory=directory)
    bundles = [Path(each) for each in (*_BUNDLES, ssl.get_default_verify_paths().cafile) if each]
    return Certificates(next((each for each in bundles if each.is_file()), None))


def _path(environment: Mapping[str, str], name: str) -> Path | None:
    text = environment.get(name, "")
    return None if text in {"", _NONE} else Path(text)


def _see(name: str, path: Path) -> None:
    try:
        if path.is_dir():
            os.scandir(path).close()
        else:
            path.open("rb").close()
    except OSError as error:
        raise ToolError(
            f"the certificates at {path} cannot be read: {error.strerror}",
            hint=f"that is what {name} names; {_OF_NIX}, {_FILE} and {_DIRECTORY} can name others",
        ) from error
