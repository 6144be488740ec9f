"""Hashed mirrors: servers that give a file by its hash.

They have flat files only: what is looked up is the hash of a file's bytes.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Final

from mirror.errors import NotAvailableError
from mirror.sources.origins.made import Made, download, first_good, offered, scratch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from mirror.planning.fetchers.fixed_outputs import FixedOutput
    from mirror.sources.http.client import HttpClient
    from mirror.sources.source import Nar, Wanted

TARBALLS: Final = "https://tarballs.nixos.org"
"""The hashed mirror that NixOS runs."""


class HashedMirrors:
    """Hashed mirrors: those a derivation's own mirrors list names, then ``mirrors``.

    A request is ``<mirror>/<algorithm>/<base16>``.
    """

    def __init__(self, mirrors: Sequence[str], client: HttpClient, scratch: Path) -> None:
        self._client = client
        self._mirrors = tuple(mirrors)
        self._scratch = scratch

    @property
    def name(self) -> str:
        """``hashed mirror``, for all of them."""
        return "hashed mirror"

    @property
    def is_one_party(self) -> bool:
        """False: they are several servers, and mirrors are known to serve wrong bytes."""
        return False

    def urls(self, fixed: FixedOutput) -> list[str]:
        """Where each mirror would have a flat fixed output."""
        mirrors = dict.fromkeys((*fixed.hashed_mirrors, *self._mirrors))
        return [f"{m.rstrip('/')}/{fixed.hash.algorithm}/{fixed.hash.base16}" for m in mirrors]

    @contextlib.asynccontextmanager
    async def open(self, wanted: Wanted) -> AsyncIterator[Nar]:
        """Obtain a flat fixed output by its hash.

        Raises:
            SourceError: no mirror gives it; ``attempts`` has each with its reason.
            DestinationError: the scratch directory cannot be used.

        """
        fixed = flat_output(wanted)
        urls = self.urls(fixed)
        if not urls:
            raise NotAvailableError("no hashed mirror is configured")
        async with scratch(self._scratch) as directory:
            attempt = partial(fetch_flat, self._client, fixed, directory)
            yield await first_good(
                urls,
                attempt,
                otherwise="no hashed mirror has it",
                whoever_answers=partial(attempt, any_certificate=True),
            )


def flat_output(wanted: Wanted) -> FixedOutput:
    """The fixed output of ``wanted``.

    Raises:
        NotAvailableError: it cannot be looked up by the hash of a file.

    """
    fixed = wanted.fixed_output
    if fixed is None:
        raise NotAvailableError(f"{wanted.path} is not a fixed output")
    if fixed.mode != "flat":
        raise NotAvailableError("only plain files can be looked up by hash, and this is a tree")
    if fixed.hash.is_zero or not fixed.hash.is_computable:
        raise NotAvailableError(f"it cannot be looked up by {fixed.hash}")
    return fixed


async def fetch_flat(
    client: HttpClient,
    fixed: FixedOutput,
    directory: Path,
    url: str,
    *,
    any_certificate: bool = False,
) -> Nar:
    """Download a plain file into ``directory`` and offer its NAR; see :func:`download`.

    Raises:
        SourceError: it could not be downloaded, or is not the fixed output.

    """
    file = directory / "download"
    await download(client, url, file, any_certificate=any_certificate)
    return await offered(Made.of_file(file, executable=False), fixed, url)
