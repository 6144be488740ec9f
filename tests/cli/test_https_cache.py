"""A cache behind TLS whose authority only this machine's Nix knows: asked as Nix asks it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from rig import nginx
from rig.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rig.shell import Shell

    from mirror.demo.upstream import Upstream
    from mirror.nix.command import Nix


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path / "certificates")


@pytest.fixture
def cache(upstream: Upstream, authority: Authority, tmp_path: Path) -> Iterator[str]:
    """The demo's cache behind TLS; its URL."""
    behind = urlsplit(upstream.cache_url)

    def text(port: int) -> str:
        return nginx.of_http(
            f"""server {{
                listen 127.0.0.1:{port} ssl http2;
                ssl_certificate {authority.server_certificate};
                ssl_certificate_key {authority.server_key};
                location / {{ proxy_pass http://{behind.netloc}; }}
            }}"""
        )

    with nginx.running(tmp_path / "nginx", text) as port:
        yield f"https://127.0.0.1:{port}{behind.path}"


def test_the_certificates_of_nix_count(
    shell: Shell, cache: str, authority: Authority, nix_newest: Nix
) -> None:
    targets = shell.write_list("hello = DEMO#hello  level=runtime")
    arguments = shell.arguments("plan", targets, "--to", "cache", cache=cache)

    refused = shell.run(arguments, expect=1)
    assert "its certificate is not valid" in refused.stderr
    assert "NIX_SSL_CERT_FILE" in refused.stderr

    authorities = str(authority.file)
    assert cache in shell.run(arguments, NIX_SSL_CERT_FILE=authorities).stdout
    with_setting = replace(shell, nix=nix_newest)
    configuration = f"{with_setting.environment()['NIX_CONFIG']}\nssl-cert-file = {authorities}\n"
    assert cache in with_setting.run(arguments, NIX_CONFIG=configuration).stdout
