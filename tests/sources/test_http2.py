"""HTTP/2 as nginx speaks it, which ends a connection after some requests: nothing is lost by it."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from rig import nginx
from rig.certificates import Authority
from rig.patience import PATIENT, Pauses

from mirror.sources.http.client import HttpClient
from mirror.trust import Certificates

if TYPE_CHECKING:
    from pathlib import Path

LOOK_UPS, DOWNLOADS = 400, 20
CONFIGURATION = """
log_format asked '$status $server_protocol $uri';
server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {authority.server_certificate};
    ssl_certificate_key {authority.server_key};
    keepalive_requests 20;
    access_log {log} asked;
    root {root};
}}
"""


async def test_nothing_fails_and_nothing_is_fetched_twice(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "certificates")
    root, log = tmp_path / "root", tmp_path / "asked"
    root.mkdir()
    small = {f"{number}.narinfo": os.urandom(600) for number in range(LOOK_UPS)}
    large = {f"{number}.nar": os.urandom(1_500_000) for number in range(DOWNLOADS)}
    for name, contents in (small | large).items():
        (root / name).write_bytes(contents)

    def text(port: int) -> str:
        return nginx.of_http(
            CONFIGURATION.format(port=port, authority=authority, log=log, root=root)
        )

    settings = replace(PATIENT, certificates=Certificates(authority.file))
    with nginx.running(tmp_path / "nginx", text) as port:
        async with HttpClient(settings, sleep=Pauses()) as client:
            url = f"https://127.0.0.1:{port}"
            looked_up, downloaded = await asyncio.gather(
                asyncio.gather(*(client.get_small(f"{url}/{name}", cap=1000) for name in small)),
                asyncio.gather(*(digest(client, f"{url}/{name}") for name in large)),
            )
    assert looked_up == list(small.values())
    assert downloaded == [hashlib.sha256(contents).digest() for contents in large.values()]
    asked = Counter(log.read_text().splitlines())
    assert asked == Counter(f"200 HTTP/2.0 /{name}" for name in small | large)


async def digest(client: HttpClient, url: str) -> bytes:
    """Of what is downloaded."""
    hashed = hashlib.sha256()
    async with client.stream(url) as chunks:
        async for chunk in chunks:
            hashed.update(chunk)
    return hashed.digest()
