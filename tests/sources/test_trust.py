"""Whose certificates count, tried with a server that only an authority of the test's own knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rig.certificates import Authority
from rig.proxies import who_asks

from mirror.errors import NotAvailableError, ToolError
from mirror.sources.http.client import HttpClient
from mirror.sources.http.settings import HttpSettings
from mirror.trust import certificates

if TYPE_CHECKING:
    from pathlib import Path

SETTING, OF_NIX, FILE, DIRECTORY = (
    "ssl-cert-file",
    "NIX_SSL_CERT_FILE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Authority]:
    directory = tmp_path_factory.mktemp("authorities")
    return {name: Authority.make(directory / name) for name in ("right", "wrong")}


@pytest.mark.parametrize(
    ("named", "is_trusted"),
    [
        ({}, False),
        ({SETTING: "right"}, True),
        ({OF_NIX: "right"}, True),
        ({FILE: "right"}, True),
        ({DIRECTORY: "right"}, True),
        ({SETTING: "right", OF_NIX: "wrong", FILE: "wrong", DIRECTORY: "wrong"}, True),
        ({OF_NIX: "right", FILE: "wrong", DIRECTORY: "wrong"}, True),
        ({SETTING: "wrong", OF_NIX: "right", FILE: "right", DIRECTORY: "right"}, False),
        ({OF_NIX: "wrong", FILE: "right", DIRECTORY: "right"}, False),
        ({FILE: "wrong", DIRECTORY: "wrong"}, False),
        # As OpenSSL has it, these two count both.
        ({FILE: "right", DIRECTORY: "wrong"}, True),
        ({FILE: "wrong", DIRECTORY: "right"}, True),
    ],
)
async def test_what_is_named_first_counts(
    authorities: dict[str, Authority], named: dict[str, str], *, is_trusted: bool
) -> None:
    paths = {
        name: authorities[which].directory if name == DIRECTORY else authorities[which].file
        for name, which in named.items()
    }
    setting = paths.pop(SETTING, None)
    environment = {name: str(path) for name, path in paths.items()}
    settings = HttpSettings(certificates=certificates(setting, environment))
    async with (
        who_asks(authorities["right"].server_context) as port,
        HttpClient(settings) as client,
    ):
        asking = client.get_small(f"https://127.0.0.1:{port}/", cap=100)
        if is_trusted:
            assert await asking == b"127.0.0.1"
        else:
            with pytest.raises(NotAvailableError, match="certificate is not valid") as caught:
                await asking
            assert OF_NIX in (caught.value.hint or "")


async def test_a_certificate_of_another_host_is_refused(authorities: dict[str, Authority]) -> None:
    settings = HttpSettings(certificates=certificates(authorities["right"].file, {}))
    async with (
        who_asks(authorities["right"].server_context) as port,
        HttpClient(settings) as client,
    ):
        assert await client.get_small(f"https://localhost:{port}/", cap=100) == b"127.0.0.1"
        with pytest.raises(NotAvailableError, match="certificate is not valid"):
            await client.get_small(f"https://cache.localhost:{port}/", cap=100)


@pytest.mark.parametrize("name", [OF_NIX, FILE, DIRECTORY])
def test_what_is_named_and_not_there_is_an_error_that_says_who_names_it(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(ToolError, match="cannot be read") as caught:
        certificates(None, {name: str(tmp_path / "absent")})
    assert f"that is what {name} names" in (caught.value.hint or "")
