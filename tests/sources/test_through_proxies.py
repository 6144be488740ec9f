"""Real proxies, as the environment names them: the client goes through the one that curl does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest
from rig import proxies
from rig.certificates import Authority
from rig.nixes import missing
from rig.patience import PATIENT, Pauses

from mirror.errors import SourceError
from mirror.sources.http.client import HttpClient
from mirror.trust import Certificates

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NOBODY, DIRECT = "", "127.0.0.1"
WEB, WEB_SECRET, SOCKS, SOCKS_SECRET = "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6"
"""From where a server is asked: by the client itself, or by the proxy of that name."""

VARIABLES: Final = tuple(
    each
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    for each in (name, name.upper())
)
PLAIN, TLS, NAMED, BELOW = (
    "http://127.0.0.1:{http}/a",
    "https://127.0.0.1:{https}/a",
    "http://localhost:{http}/a",
    "http://cache.localhost:{http}/a",
)
THROUGH: Final = {"http_proxy": "http://127.0.0.1:{web}"}
SECRET: Final = proxies.ESCAPED

CASES: Final = (
    ("none", {}, PLAIN, DIRECT),
    ("none, TLS", {}, TLS, DIRECT),
    ("http", THROUGH, PLAIN, WEB),
    ("http, for http only", THROUGH, TLS, DIRECT),
    ("https", {"https_proxy": "http://127.0.0.1:{web}"}, TLS, WEB),
    ("https, for https only", {"https_proxy": "http://127.0.0.1:{web}"}, PLAIN, DIRECT),
    ("all", {"all_proxy": "http://127.0.0.1:{web}"}, PLAIN, WEB),
    ("all, TLS", {"all_proxy": "http://127.0.0.1:{web}"}, TLS, WEB),
    ("one for http before one for all", {**THROUGH, "all_proxy": "socks5://x.invalid"}, PLAIN, WEB),
    ("HTTP_PROXY in capitals", {"HTTP_PROXY": "http://127.0.0.1:{web}"}, PLAIN, DIRECT),
    ("HTTPS_PROXY in capitals", {"HTTPS_PROXY": "http://127.0.0.1:{web}"}, TLS, WEB),
    ("ALL_PROXY in capitals", {"ALL_PROXY": "http://127.0.0.1:{web}"}, PLAIN, WEB),
    (
        "small letters before capitals",
        {"https_proxy": "http://127.0.0.1:{web}", "HTTPS_PROXY": "http://127.0.0.1:1"},
        TLS,
        WEB,
    ),
    ("without a scheme", {"http_proxy": "127.0.0.1:{web}"}, PLAIN, WEB),
    ("with a slash at its end", {"http_proxy": "http://127.0.0.1:{web}/"}, PLAIN, WEB),
    ("by its name", {"http_proxy": "http://localhost:{web}"}, PLAIN, WEB),
    ("empty", {"http_proxy": ""}, PLAIN, DIRECT),
    (
        "empty, before one for all",
        {"http_proxy": "", "all_proxy": "http://127.0.0.1:1"},
        PLAIN,
        NOBODY,
    ),
    ("nobody listens", {"http_proxy": "http://127.0.0.1:1"}, PLAIN, NOBODY),
    ("no such host", {"http_proxy": "http://proxy.invalid:80"}, PLAIN, NOBODY),
    ("no such scheme", {"http_proxy": "ftp://127.0.0.1:{web}"}, PLAIN, NOBODY),
    ("a password", {"http_proxy": f"http://{SECRET}@127.0.0.1:{{web_secret}}"}, PLAIN, WEB_SECRET),
    (
        "a password, TLS",
        {"all_proxy": f"http://{SECRET}@127.0.0.1:{{web_secret}}"},
        TLS,
        WEB_SECRET,
    ),
    ("no password", {"http_proxy": "http://127.0.0.1:{web_secret}"}, PLAIN, NOBODY),
    ("no password, TLS", {"all_proxy": "http://127.0.0.1:{web_secret}"}, TLS, NOBODY),
    ("a wrong password", {"http_proxy": "http://me:x@127.0.0.1:{web_secret}"}, PLAIN, NOBODY),
    ("socks5", {"http_proxy": "socks5://127.0.0.1:{socks}"}, PLAIN, SOCKS),
    ("socks5, TLS", {"https_proxy": "socks5://127.0.0.1:{socks}"}, TLS, SOCKS),
    ("socks5h", {"all_proxy": "socks5h://127.0.0.1:{socks}"}, NAMED, SOCKS),
    ("socks", {"all_proxy": "socks://127.0.0.1:{socks}"}, PLAIN, NOBODY),
    (
        "socks5, a password",
        {"all_proxy": f"socks5h://{SECRET}@127.0.0.1:{{socks_secret}}"},
        TLS,
        SOCKS_SECRET,
    ),
    ("socks5, no password", {"all_proxy": "socks5://127.0.0.1:{socks_secret}"}, PLAIN, NOBODY),
    (
        "socks5, a wrong password",
        {"all_proxy": "socks5://me:x@127.0.0.1:{socks_secret}"},
        PLAIN,
        NOBODY,
    ),
    ("TLS to the proxy, no password", {"http_proxy": "https://localhost:{tls}"}, PLAIN, NOBODY),
    ("TLS to the proxy", {"http_proxy": f"https://{SECRET}@localhost:{{tls}}"}, PLAIN, WEB_SECRET),
    (
        "TLS to the proxy and to the server",
        {"https_proxy": f"https://{SECRET}@localhost:{{tls}}"},
        TLS,
        WEB_SECRET,
    ),
    *(
        (f"no_proxy={text}, {url[:20]}", {**THROUGH, "no_proxy": text}, url, asks)
        for text, url, asks in (
            ("*", PLAIN, DIRECT),
            ("*,example.org", PLAIN, WEB),
            ("127.0.0.1", PLAIN, DIRECT),
            ("127.0.0.0/8", PLAIN, DIRECT),
            ("127.0.0.1/32", PLAIN, DIRECT),
            ("10.0.0.0/8", PLAIN, WEB),
            ("127.0.0.0/8", NAMED, WEB),
            ("127.0.0", PLAIN, WEB),
            ("localhost", NAMED, DIRECT),
            ("LOCALHOST", NAMED, DIRECT),
            ("localhost.", NAMED, DIRECT),
            ("localhost", BELOW, DIRECT),
            (".localhost", BELOW, DIRECT),
            ("host", NAMED, WEB),
            (".example.org", NAMED, WEB),
            ("example.org, localhost", NAMED, DIRECT),
            (" example.org ,\tlocalhost ", NAMED, DIRECT),
            ("", NAMED, WEB),
        )
    ),
    ("no_proxy with a port", {**THROUGH, "no_proxy": "127.0.0.1:{http}"}, PLAIN, WEB),
    ("NO_PROXY in capitals", {**THROUGH, "NO_PROXY": "127.0.0.1"}, PLAIN, DIRECT),
    (
        "no_proxy before NO_PROXY",
        {**THROUGH, "no_proxy": "example.org", "NO_PROXY": "127.0.0.1"},
        PLAIN,
        WEB,
    ),
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("certificates") / "made")


@pytest.fixture(scope="module")
def ports(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, int]]:
    """The proxies that run, by what the cases call them."""
    directory = tmp_path_factory.mktemp("proxies")
    with contextlib.ExitStack() as stack:
        secret = stack.enter_context(proxies.tinyproxy(directory, WEB_SECRET, secret=True))
        yield {
            "web": stack.enter_context(proxies.tinyproxy(directory, WEB)),
            "web_secret": secret,
            "tls": stack.enter_context(proxies.behind_tls(directory, secret, authority)),
            "socks": stack.enter_context(proxies.microsocks(SOCKS)),
            "socks_secret": stack.enter_context(proxies.microsocks(SOCKS_SECRET, secret=True)),
        }


@pytest.mark.parametrize(
    ("environment", "url", "asks"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
async def test_the_proxy_of_the_environment_is_the_one_that_curl_uses(
    ports: Mapping[str, int],
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    environment: Mapping[str, str],
    url: str,
    asks: str,
) -> None:
    async with (
        proxies.who_asks() as http,
        proxies.who_asks(authority.server_context) as https,
    ):
        known = {**ports, "http": http, "https": https}
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value.format(**known))
        curl, ours = await asyncio.gather(
            asked_by_curl(url.format(**known), authority),
            asked_by_us(url.format(**known), authority),
        )
    assert (curl, ours) == (asks, asks)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "proxy",
    [
        "http://127.0.0.1:{web_secret}",
        "socks5h://127.0.0.1:{socks_secret}",
        "http://127.0.0.1:1",
        "socks5://127.0.0.1:1",
        "http://proxy.invalid:80",
        "ftp://127.0.0.1:{web}",
    ],
)
async def test_a_proxy_that_does_not_serve_is_said_to_be_one(
    ports: Mapping[str, int], monkeypatch: pytest.MonkeyPatch, scheme: str, proxy: str
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("all_proxy", proxy.format(**ports))
    async with HttpClient(PATIENT, sleep=Pauses()) as client:
        with pytest.raises(SourceError) as caught:
            await client.get_small(f"{scheme}://server.invalid/", cap=100)
    assert "http_proxy" in (caught.value.hint or ""), caught.value.message


async def asked_by_curl(url: str, authority: Authority) -> str:
    """From where a server is asked by curl; empty where it is not, or its answer is none."""
    program = shutil.which("curl")
    if program is None:
        missing("there is no curl: tools/install-nix tests installs it")
    process = await asyncio.create_subprocess_exec(
        *(program, "--disable", "--fail", "--silent", "--max-time", "60"),
        *("--cacert", str(authority.file), "--proxy-cacert", str(authority.file), url),
        stdout=asyncio.subprocess.PIPE,
        env=dict(os.environ),
    )
    output, _ = await process.communicate()
    return output.decode()


async def asked_by_us(url: str, authority: Authority) -> str:
    """From where a server is asked by the client."""
    settings = replace(PATIENT, certificates=Certificates(authority.file))
    try:
        async with HttpClient(settings, sleep=Pauses()) as client:
            return (await client.get_small(url, cap=100)).decode()
    except SourceError:
        return NOBODY
