"""A binary cache, over HTTP or in a directory: what it has, whether to believe it, and its NARs.

The NAR is handed on byte for byte as the cache compressed it. A path is believed for one of these
reasons, and refused for want of one before anything is downloaded:

- its content is known beforehand (a fixed output): what the cache says of it is replaced by that;
- its name follows from its content: ``CA`` in the narinfo and its references make the name, and
  the verifier compares the content with ``CA``;
- a trusted key has signed it;
- the cache's own URL says ``trusted=true``, as Nix's store URLs may.

The NAR's hash is what decides, and its size with it. What a narinfo says of the compressed file is
taken for a hint, as Nix takes it: many servers do not know it.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from mirror.errors import (
    FormatError,
    IntegrityError,
    NotAvailableError,
    RequestError,
    TransientError,
)
from mirror.formats.cache_info import FILE_NAME, CacheInfo, parse_cache_info
from mirror.formats.narinfo import NarInfo, largest_file, parse_narinfo
from mirror.formats.signing import TrustedKeys
from mirror.formats.verifier import Claim
from mirror.masking import without_secrets
from mirror.planning.vouching import follows_from_its_content
from mirror.sources.caches.nar_location import nar_location
from mirror.sources.caches.signature_checks import SignatureChecks
from mirror.sources.caches.unsigned import refusal_of
from mirror.sources.origins.made import DOWNLOAD_CAP
from mirror.sources.server_errors import ChangedError, MissingError
from mirror.sources.source import Nar
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.planning.refusals import Refusal
    from mirror.sources.caches.memory import Memory
    from mirror.sources.http.client import HttpClient
    from mirror.sources.source import Wanted

DEFAULT_PRIORITY: Final = 50
"""What Nix takes for the priority of a cache that names none."""

_SCHEMES: Final = frozenset({"http", "https", "file"})
_FAILURES: Final = 3
_INFO_CAP: Final = 1 << 16
_NARINFO_CAP: Final = 1 << 24
"""A path may have tens of thousands of references."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BinaryCache:
    """A binary cache whose ``nix-cache-info`` has been read.

    ``name`` is its URL without parameters, and without the password that may be in it; of several
    caches the one of the lowest ``priority`` is asked first; ``trusted``: its paths need no
    signature; ``wants_mass_queries``: asking for many paths that it may lack is welcome.
    """

    name: str
    priority: int
    trusted: bool
    wants_mass_queries: bool
    url: str = field(repr=False)
    """As it was given, with all that is in it."""
    _base: str = field(repr=False)
    _client: HttpClient = field(repr=False)
    _signatures: SignatureChecks = field(repr=False)
    _memory: Memory | None = field(repr=False, default=None)
    _found: dict[StorePath, NarInfo | None] = field(repr=False, default_factory=dict)
    _recalled: dict[StorePath, str | None] = field(repr=False, default_factory=dict)
    """What an earlier run was told, with the key whose signature it found good."""
    _signed: dict[StorePath, PathInfo] = field(repr=False, default_factory=dict)
    """What was found to be signed, as it was then."""
    _said: dict[StorePath, bytes] = field(repr=False, default_factory=dict)
    """Answers of this run that are remembered if a signature of them turns out to be good."""
    _failures: list[TransientError | IntegrityError] = field(repr=False, default_factory=list)

    @classmethod
    async def connect(
        cls,
        url: str,
        client: HttpClient,
        *,
        keys: TrustedKeys | None = None,
        memory: Memory | None = None,
    ) -> Self:
        """Read the cache's ``nix-cache-info``.

        ``url`` may have Nix's parameters ``priority`` and ``trusted``; others say nothing here.
        Without ``keys`` nothing is believed for its signature. ``memory`` is what caches said in
        earlier runs; a directory is always asked, which costs no more.

        Raises:
            RequestError: ``url`` is not that of a binary cache.
            NotAvailableError: there is no cache there, or one for another store directory.
            TransientError: it cannot be asked now.

        """
        unusable = RequestError(
            f"not the URL of a binary cache: {url}",
            hint="http://…, https://… or file:///some/directory",
        )
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise unusable from error
        if parts.scheme not in _SCHEMES or (parts.scheme == "file" and not parts.path):
            raise unusable
        parameters = dict(parse_qsl(parts.query))
        base = parts._replace(query="", fragment="").geturl().rstrip("/")
        name = without_secrets(base)
        try:
            data = await client.get_small(f"{base}/{FILE_NAME}", cap=_INFO_CAP)
            info = parse_cache_info(data)
        except MissingError as error:
            if parts.scheme != "file" or not await in_thread(_has_narinfos, unquote(parts.path)):
                raise NotAvailableError(f"{name} is not a binary cache: {error.message}") from error
            info = CacheInfo()
        except FormatError as error:
            raise NotAvailableError(f"{name} cannot be used: {error.message}") from error
        return cls(
            name=name,
            priority=_priority(url, parameters.get("priority"), info.priority),
            trusted=parameters.get("trusted", "").lower() in {"1", "true", "yes"},
            wants_mass_queries=info.want_mass_query,
            url=url,
            _base=base,
            _client=client,
            _signatures=SignatureChecks(keys or TrustedKeys()),
            _memory=None if parts.scheme == "file" else memory,
        )

    @property
    def is_one_party(self) -> bool:
        """True: a cache that served one wrong NAR is not asked again."""
        return True

    async def lookup(self, path: StorePath) -> NarInfo | None:
        """What the cache says of ``path``, None if it does not have it. Asked once in a run.

        A cache that has not answered, or not sensibly, several times running is not asked again: a
        plan looks up thousands of paths, and each failure takes its time.

        Raises:
            TransientError: it cannot be asked now.
            NotAvailableError: it refuses to be asked.
            IntegrityError: its answer is malformed, or about another path.

        """
        if path not in self._found and not self._recall(path):
            await self._find_out(path)
        return self._found[path]

    async def _find_out(self, path: StorePath) -> None:
        if len(self._failures) >= _FAILURES:
            last = self._failures[-1]
            raise type(last)(f"not asked again, since {last.message}")
        try:
            data = await self._ask(path)
            self._found[path] = None if data is None else self._parse(path, data)
        except (TransientError, IntegrityError) as error:
            self._failures.append(error)
            raise
        self._failures.clear()
        if self._memory is None:
            return
        if data is None:
            self._memory.note(self.name, path, None)
        else:
            self._said[path] = data

    def _recall(self, path: StorePath) -> bool:
        """Take an earlier run's word for it, if there is one that makes sense and was signed."""
        said = None if self._memory is None else self._memory.recall(self.name, path)
        if said is None or (said.narinfo is not None and said.signer is None):
            return False
        try:
            narinfo = None if said.narinfo is None else self._parse(path, said.narinfo)
        except IntegrityError:
            return False
        self._found[path] = narinfo
        self._recalled[path] = said.signer
        return True

    def forget_recalled(self, paths: Iterable[StorePath]) -> bool:
        """Forget remembered answers for ``paths``; whether there were any.

        Of what is remembered only a part is signed.
        """
        recalled = [path for path in paths if path in self._recalled]
        for path in recalled:
            self._forget(path)
        return bool(recalled)

    def _forget(self, path: StorePath) -> None:
        """Forget the remembered answer, in this run and later ones."""
        self._found.pop(path, None)
        self._said.pop(path, None)
        self._recalled.pop(path, None)
        if self._memory is not None:
            self._memory.forget(self.name, path)

    async def _ask(self, path: StorePath) -> bytes | None:
        try:
            return await self._client.get_small(self._url(path), cap=_NARINFO_CAP)
        except MissingError:
            return None

    def _parse(self, path: StorePath, data: bytes) -> NarInfo:
        try:
            narinfo = parse_narinfo(data)
        except FormatError as error:
            raise IntegrityError(f"{self._url(path)}: {error.message}") from error
        if narinfo.info.path != path:
            raise IntegrityError(f"{self._url(path)}: it is for {narinfo.info.path}, not {path}")
        return narinfo

    def _url(self, path: StorePath) -> str:
        return f"{self._base}/{path.hash_part}.narinfo"

    async def objection(self, info: PathInfo) -> Refusal | None:
        """Why the path is not believed without knowing its content beforehand; None if it is."""
        if await self.is_signed(info) or follows_from_its_content(info):
            return None
        return refusal_of(info, self.name, trusted=self._signatures.keys.names)

    async def is_signed(self, info: PathInfo) -> bool:
        """Whether a trusted key, or a trusted cache, vouches for all that a signature covers."""
        return self.trusted or await self._is_signed(info)

    async def _is_signed(self, info: PathInfo) -> bool:
        """Whether a trusted key has signed it; found out once for each key."""
        path = info.path
        if (known := self._recalled.get(path)) is not None and known in self._signatures.keys:
            return True
        if self._signed.get(path) is info:
            return True
        signer = await self._signatures.signer(info)
        said = self._found.get(path)
        # Meanwhile the cache may have said something else of it, of which this is not known.
        if signer is not None and said is not None and said.info is info:
            self._signed[path] = info
            if self._memory is not None:
                if (data := self._said.pop(path, None)) is not None:
                    self._memory.note(self.name, path, data)
                self._memory.note_signer(self.name, path, str(signer))
        return signer is not None

    @contextlib.asynccontextmanager
    async def open(self, wanted: Wanted) -> AsyncIterator[Nar]:
        """Open the path's NAR, compressed as the cache has it.

        Raises:
            NotAvailableError: the cache does not have it.
            TransientError: it cannot be asked now.
            IntegrityError: what it has is not believed.

        """
        path = wanted.path
        async with contextlib.AsyncExitStack() as stack:
            try:
                try:
                    nar = await stack.enter_async_context(self._opened(wanted))
                except MissingError:
                    if path not in self._recalled:
                        raise
                    # It was so when an earlier run asked.
                    self._forget(path)
                    nar = await stack.enter_async_context(self._opened(wanted))
                yield nar
            except (MissingError, ChangedError, IntegrityError):
                # So that another attempt does not take the old word for it.
                self._forget(path)
                raise

    @contextlib.asynccontextmanager
    async def _opened(self, wanted: Wanted) -> AsyncIterator[Nar]:
        narinfo = await self.lookup(wanted.path)
        if narinfo is None:
            raise NotAvailableError(f"{self.name} does not have {wanted.path}")
        claim = await self._claim(narinfo, wanted)
        url = self._nar_url(narinfo)
        cap = largest_file(claim.info.nar_size)
        if not claim.is_signed:
            cap = min(cap, DOWNLOAD_CAP)
        async with self._client.stream(url, expected_size=claim.file_size, cap=cap) as chunks:
            yield Nar(claim=claim, chunks=chunks, location=url)

    async def _claim(self, narinfo: NarInfo, wanted: Wanted) -> Claim:
        info = narinfo.info
        fixed = wanted.fixed_output
        if fixed is not None and fixed.hash.is_computable:
            if info.references:
                raise IntegrityError(
                    f"{self.name}: {info.path} refers to {info.references[0]}; "
                    "a fixed output has no references"
                )
            info = replace(info, content_address=fixed.content_address)
        else:
            refusal = await self.objection(info)
            if refusal is not None:
                raise IntegrityError(
                    f"{self.name}: {info.path} is {refusal.reason}",
                    hint="if you trust its keys, name them with --trusted-key",
                )
        return Claim(
            info=info,
            compression=narinfo.compression,
            file_size=info.nar_size if narinfo.compression == "none" else None,
            is_signed=await self.is_signed(narinfo.info),
        )

    def _nar_url(self, narinfo: NarInfo) -> str:
        try:
            return nar_location(self._base, narinfo.url)
        except IntegrityError as error:
            raise IntegrityError(f"{self.name}: {narinfo.info.path}: {error.message}") from error


def _has_narinfos(directory: str) -> bool:
    """Whether a directory without ``nix-cache-info``, which Nix would write, is a cache."""
    try:
        return any(Path(directory).glob("*.narinfo"))
    except OSError:
        return False


def _priority(url: str, asked: str | None, named: int | None) -> int:
    """The priority: the user's setting, otherwise the cache's own."""
    if asked is None:
        return DEFAULT_PRIORITY if named is None else named
    try:
        return int(asked)
    except ValueError as error:
        raise RequestError(f"{url}: priority={asked} is not a number") from error
