"""``probe``: ask a cache what it is, and this machine's Nix whether it uses it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mirror.nix.access import find_access
from mirror.nix.settings import read_settings
from mirror.planning.client_settings import Configured, in_force, lacking
from mirror.sources.http.settings import HttpSettings
from mirror.sync.probe.reach import reach
from mirror.system.threads import in_thread
from mirror.system.together import together
from mirror.trust import certificates

if TYPE_CHECKING:
    from mirror.nix.access import Access
    from mirror.nix.command import Nix
    from mirror.nix.settings import NixSettings
    from mirror.planning.client_settings import InForce, Lacking
    from mirror.sync.probe.reach import Reached
    from mirror.sync.report import Observer

_PATIENCE: Final = HttpSettings(attempts=2, first_pause=0.2, connect_seconds=5)
"""Somebody waits for the answer, and a machine that is away is an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What was found out about the cache at ``url`` and this machine's use of it.

    ``settings`` are those that count, ``lacking`` is what they lack for the cache to be used.
    """

    url: str
    nix: Nix
    access: Access
    settings: InForce
    reached: Reached
    lacking: Lacking

    @property
    def is_used(self) -> bool:
        """Whether the cache is there, is used, and nothing is lacking."""
        return self.reached.cache is not None and not self.lacking


async def probe(url: str, nix: Nix, observer: Observer, *, store: str | None) -> Probe:
    """Ask the cache and Nix.

    Raises:
        RequestError: it is not the URL of a cache.
        ToolError: Nix cannot be used.

    """
    from mirror.sources.http.client import HttpClient  # noqa: PLC0415 - start-up time

    observer.step(f"asking {url} and {nix.full_name}")
    own, access = await together(read_settings(nix), find_access(nix, store))
    http = replace(
        _PATIENCE,
        netrc=own.netrc_file,
        certificates=await in_thread(certificates, own.ssl_cert_file, os.environ),
    )
    async with HttpClient(http) as client:
        reached = await reach(url, client)
    system = _configured(access.system)
    settings = in_force(_configured(own), None if access.is_trusted else system)
    return Probe(
        url=url,
        nix=nix,
        access=access,
        settings=settings,
        reached=reached,
        lacking=lacking(
            url,
            settings,
            in_force(system, None),
            keys=reached.keys or (),
            signers=_unknown(reached, settings),
        ),
    )


def _configured(settings: NixSettings) -> Configured:
    return Configured(
        substituters=settings.substituters,
        trusted_substituters=settings.trusted_substituters,
        trusted_public_keys=settings.trusted_public_keys,
        require_sigs=settings.require_sigs,
        substitute=settings.substitute,
    )


def _unknown(reached: Reached, settings: InForce) -> tuple[str, ...]:
    """The signers of whom no key is trusted, if nothing says which keys clients need."""
    trusted = {each.partition(":")[0] for each in settings.keys}
    return tuple(each for each in reached.signers or () if each not in trusted)
