from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rig.patience import PATIENT, QUICK, Pauses
from rig.servers import Server

from mirror.sources.http.client import HttpClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as server:
        yield server


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
async def client(pauses: Pauses) -> AsyncIterator[HttpClient]:
    async with HttpClient(PATIENT, sleep=pauses, jitter=lambda: 1.0) as client:
        yield client


@pytest.fixture
async def quick_client(pauses: Pauses) -> AsyncIterator[HttpClient]:
    """For tests of what lets a client wait."""
    async with HttpClient(QUICK, sleep=pauses, jitter=lambda: 1.0) as client:
        yield client
