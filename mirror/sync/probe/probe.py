"""``probe``: ask a cache what it is, and this machine's Nix whether it uses it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from mirror.nix.access import find_access
from mirror.nix.protocol import daemon
from mirror.nix.settings import read_settings
from mirror.planning.client_settings import Configured, in_force, lacking
from mirror.sources.http.settings import HttpSettings
from mirror.sync.probe.copying import Asked, Outcome, copying, refused_signers
from mirror.sync.probe.reach import reach
from mirror.sync.probe.wishes import find_wish, read_graph
from mirror.system.threads import in_thread
from mirror.system.together import together
from mirror.trust import certificates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mirror.formats.store_path import StorePath
    from mirror.nix.access import Access
    from mirror.nix.command import Nix
    from mirror.nix.settings import NixSettings
    from mirror.planning.client_settings import InForce, Lacking
    from mirror.planning.lists.targets import Target
    from mirror.sources.http.client import HttpClient
    from mirror.sync.probe.reach import Reached
    from mirror.sync.report import Observer

_PATIENCE: Final = HttpSettings(attempts=2, first_pause=0.2, connect_seconds=5)
"""Somebody waits for the answer, and a machine that is away is an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What was found out about the cache at ``url`` and this machine's use of it.

    ``settings`` are those that count, ``lacking`` is what they lack for the cache to be used.
    ``outcomes`` say what would be copied and built; ``absent`` are caches that could not be asked
    for that, each with the reason.
    """

    url: str
    nix: Nix
    access: Access
    settings: InForce
    reached: Reached
    lacking: Lacking
    outcomes: tuple[Outcome, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_used(self) -> bool:
        """Whether the cache is there, is used, and nothing is lacking."""
        return self.reached.cache is not None and not self.lacking

    @property
    def is_enough(self) -> bool:
        """Whether the cache is used, and all that is asked for can be had, and is believed."""
        return self.is_used and not any(
            each.now.unknown or each.now.refused for each in self.outcomes
        )


async def probe(
    url: str,
    installables: Sequence[Target | StorePath],
    nix: Nix,
    observer: Observer,
    *,
    store: str | None,
) -> Probe:
    """Ask the cache and Nix, also what Nix would do for installables.

    Raises:
        RequestError: it is not the URL of a cache.
        EvaluationError: an installable cannot be evaluated.
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
        probed = Probe(
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
        return await _with_outcomes(probed, installables, own, client, observer)


async def _with_outcomes(
    probed: Probe,
    installables: Sequence[Target | StorePath],
    own: NixSettings,
    client: HttpClient,
    observer: Observer,
) -> Probe:
    """Say also what would be copied and built."""
    if not installables:
        return probed
    url, nix, access, lacks = probed.url, probed.nix, probed.access, probed.lacking
    observer.step("evaluating what is asked for")
    wishes = [await find_wish(each, nix, access.store, system=own.system) for each in installables]
    mended = probed.settings.mended(url, lacks)
    is_mendable = bool(lacks) and probed.reached.cache is not None
    variants = [probed.settings, *([mended] if is_mendable else [])]
    observer.step("asking the caches")
    asked = await Asked.connect(
        probed.reached.cache, probed.settings.substituters, mended.keys, client
    )
    cache = None if probed.reached.cache is None else url
    async with daemon.connect(nix, access.store) as connection:
        graph = await read_graph(wishes, nix, access.store, connection, cache)
        now, *others = await copying(
            wishes,
            graph,
            connection,
            asked,
            variants,
            always_substitute=own.always_allow_substitutes,
        )
    with_lines = others[0] if others else [None] * len(wishes)
    # What is refused with the lines, too, is signed by somebody whom the cache did not name.
    signers = refused_signers([each or it for each, it in zip(with_lines, now, strict=True)], url)
    names = {*lacks.signers, *signers}
    trusted = {each.partition(":")[0] for each in probed.settings.keys}
    return replace(
        probed,
        lacking=replace(
            lacks,
            signers=tuple(sorted(names)),
            outdated=tuple(sorted({*lacks.outdated, *(names & trusted)})),
        ),
        outcomes=tuple(
            Outcome(wish=wish, now=one, mended=other)
            for wish, one, other in zip(wishes, now, with_lines, strict=True)
        ),
        absent=asked.absent,
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
