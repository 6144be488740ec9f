"""What a run works with: the installed Nix, its settings, the evaluating store, the sources."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from mirror.errors import (
    FormatError,
    NotAvailableError,
    PrefetchError,
    RequestError,
    SourceError,
    TransientError,
)
from mirror.formats.signing import PublicKey, TrustedKeys, shown
from mirror.nix.command import Nix
from mirror.nix.evaluation.evaluators import EvaluatorBounds
from mirror.nix.evaluation.places import credentials
from mirror.nix.protocol import daemon
from mirror.nix.settings import read_settings
from mirror.nix.stores import locate
from mirror.sources.archives.tree import Limits
from mirror.sources.caches.binary_cache import BinaryCache
from mirror.sources.caches.by_priority import Caches
from mirror.sources.caches.memory import Memory
from mirror.sources.http.settings import HttpSettings
from mirror.sources.inquiry import ask_urls, is_published_as_it_is, origin_urls
from mirror.sources.local_store import LocalStore
from mirror.sources.origins.builder import Builder
from mirror.sources.origins.hashed_mirror import TARBALLS, HashedMirrors
from mirror.sources.origins.origin import Origins
from mirror.sources.origins.software_heritage import SoftwareHeritage
from mirror.sources.pace import RateLimiter
from mirror.system.temporaries import remove_left_behind, temporary_directory
from mirror.system.threads import in_thread
from mirror.system.together import together
from mirror.trust import certificates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence

    from mirror.destinations import Destination
    from mirror.formats.store_path import StorePath
    from mirror.nix.evaluation.places import Credentials, Place
    from mirror.nix.settings import NixSettings
    from mirror.nix.stores import StoreLocation
    from mirror.planning.availability import Offer
    from mirror.planning.fetchers.fixed_outputs import FixedOutput
    from mirror.sources import Source, Wanted
    from mirror.sources.http.client import HttpClient
    from mirror.sources.inquiry import Finding
    from mirror.sync.report import Observer


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkshopOptions:
    """How the user wants it done; None is what Nix itself is set up with.

    ``store`` is the URL of the store to evaluate in, ``limit_rate`` is in bytes a second,
    ``builder`` says whether fixed outputs may be built as a last resort, ``archives`` whether the
    public archives (:data:`TARBALLS`, Software Heritage) may be asked for sources by their hash.
    ``http`` is how patient downloads are; credentials come from Nix's netrc file. ``limits`` is how
    large sources may be. ``allow_refused``: go on without what caches have and is not believed.
    ``re_evaluate``: believe nothing of what evaluations came to in earlier runs. ``evaluators``:
    how many evaluate at once.
    """

    store: str | None = None
    substituters: tuple[str, ...] | None = None
    trusted_keys: tuple[str, ...] | None = None
    builder: bool = True
    archives: bool = True
    limit_rate: int | None = None
    http: HttpSettings = field(default_factory=HttpSettings)
    limits: Limits = field(default_factory=Limits)
    allow_refused: bool = False
    re_evaluate: bool = False
    evaluators: EvaluatorBounds = field(default_factory=EvaluatorBounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """All that a run works with, open; made by :func:`open_workshop`.

    ``store`` is where targets are evaluated and ``evaluation`` the connection to it; ``local``
    offers that store's paths. ``keys`` are the ``trusted_keys``. ``allow_refused``: what caches
    have and is not believed is no failure. ``re_evaluate``: believe no earlier evaluation;
    ``evaluators``: how many evaluate at once.
    """

    nix: Nix
    settings: NixSettings
    store: StoreLocation
    evaluation: daemon.Connection
    caches: Caches
    local: LocalStore
    trusted_keys: tuple[str, ...]
    keys: TrustedKeys
    credentials: Credentials
    _client: HttpClient
    _origins: Source
    _hashed_mirrors: HashedMirrors
    _archives: tuple[Source, ...]
    _builder: Builder
    allow_refused: bool = False
    re_evaluate: bool = False
    evaluators: EvaluatorBounds = field(default_factory=EvaluatorBounds)

    def sources(self, wanted: Wanted, offer: Offer | None = None) -> Sequence[Source]:
        """Where a path may be had from, in the order in which it is tried.

        The cache that made an ``offer`` of it comes first: those before it were asked for that.
        """
        fixed_output = wanted.fixed_output
        caches = self.caches.in_turn(offer)
        if fixed_output is None:
            return caches
        if fixed_output.mode == "nar":
            # What is asked for by hash is a plain file: mirrors and archives have no trees.
            return (*caches, self._origins, self._builder)
        upstream = [self._origins, self._hashed_mirrors]
        if fixed_output.hashed_mirrors_first:
            upstream.reverse()
        return (*caches, *upstream, *self._archives, self._builder)

    def fetchable(self, places: Mapping[StorePath, frozenset[Place]]) -> frozenset[StorePath]:
        """The paths that come from places which anybody can ask, without credentials."""
        return frozenset(
            path
            for path, each in places.items()
            if any(not self.credentials.are_for(place) for place in each)
        )

    def builder_refusal(self, fixed_output: FixedOutput) -> str | None:
        """Why a fixed output's builder cannot be run here; None if it can."""
        return self._builder.refusal(fixed_output)

    async def ask_upstream(self, fixed_output: FixedOutput, nar_size: int) -> Finding:
        """Ask whether an origin or a hashed mirror still has what is held, with that NAR size."""
        size = nar_size if is_published_as_it_is(fixed_output) else None
        found = await ask_urls(self._client, origin_urls(fixed_output), nar_size=size)
        if found.state != "gone" or fixed_output.mode != "flat":
            return found
        mirrors = self._hashed_mirrors.urls(fixed_output)
        by_hash = await ask_urls(self._client, mirrors, nar_size=None)
        return by_hash if mirrors and by_hash.state != "gone" else found

    @contextlib.contextmanager
    def build_options(self, destination: Destination) -> Iterator[dict[str, str]]:
        """Give settings with which Nix builds what the destination has all inputs of."""
        with destination.as_substituter() as url:
            caches = [*([url] if url else []), *self.caches.urls]
            yield {
                "substituters": " ".join(caches),
                "trusted-public-keys": " ".join(self.trusted_keys),
            }


@contextlib.asynccontextmanager
async def open_workshop(
    nix: Nix, options: WorkshopOptions, observer: Observer
) -> AsyncIterator[Workshop]:
    """Read Nix's settings, connect to its store and to the caches.

    A cache that cannot be reached is left out, with a notice; so is one of Nix's own settings that
    is no binary cache over http or in a directory.

    Raises:
        RequestError: a key or a URL cannot be read.
        TransientError: there are caches, and none of them can be asked.
        NotAvailableError: all of them answer, and none is a cache.
        ToolError: Nix does not report its settings, or its store cannot be opened.

    """
    from mirror.sources.http.client import HttpClient  # noqa: PLC0415 - start-up time

    settings, store = await _settings_and_store(nix, options.store)
    trusted = settings.trusted_public_keys if options.trusted_keys is None else options.trusted_keys
    keys = _trusted_keys(trusted)
    async with contextlib.AsyncExitStack() as stack:
        await in_thread(remove_left_behind)
        scratch = stack.enter_context(temporary_directory())
        client = await stack.enter_async_context(
            HttpClient(
                replace(
                    options.http,
                    netrc=settings.netrc_file,
                    certificates=await in_thread(certificates, settings.ssl_cert_file),
                ),
                limiter=RateLimiter(options.limit_rate),
            )
        )
        evaluation = await stack.enter_async_context(daemon.connect(nix, store))
        urls = settings.substituters if options.substituters is None else options.substituters
        # What Nix is set up with may be of a kind that only Nix can use (s3://, ssh://, a store).
        left_out = (SourceError, RequestError) if options.substituters is None else (SourceError,)
        memory = stack.enter_context(
            Memory.open(
                nix.cache_directory,
                positive_seconds=settings.narinfo_cache_positive_ttl,
                negative_seconds=settings.narinfo_cache_negative_ttl,
            )
        )
        connect = partial(BinaryCache.connect, client=client, keys=keys, memory=memory)
        caches = await _connect(urls, connect, observer, left_out)
        mirrors = list(settings.hashed_mirrors)
        if options.archives:
            mirrors.append(TARBALLS)
        yield Workshop(
            nix=nix,
            settings=settings,
            store=store,
            evaluation=evaluation,
            caches=caches,
            local=LocalStore(evaluation, store),
            trusted_keys=trusted,
            keys=keys,
            credentials=await in_thread(credentials, settings.access_tokens, settings.netrc_file),
            _client=client,
            _origins=Origins(client, scratch, limits=options.limits),
            _hashed_mirrors=HashedMirrors(mirrors, client, scratch),
            _archives=(SoftwareHeritage(client, scratch),) if options.archives else (),
            _builder=Builder(
                nix,
                store,
                settings,
                options={
                    "substituters": " ".join(urls),
                    "trusted-public-keys": " ".join(trusted),
                },
                enabled=options.builder,
            ),
            allow_refused=options.allow_refused,
            re_evaluate=options.re_evaluate,
            evaluators=options.evaluators,
        )


@contextlib.asynccontextmanager
async def open_installed(options: WorkshopOptions, observer: Observer) -> AsyncIterator[Workshop]:
    """Find the Nix of this machine, and open a workshop with it.

    Raises:
        ToolError: there is none, or it cannot be used.
        TransientError: there are caches, and none of them can be asked.

    """
    async with open_workshop(await Nix.find(), options, observer) as workshop:
        yield workshop


async def _settings_and_store(nix: Nix, url: str | None) -> tuple[NixSettings, StoreLocation]:
    """Nix's settings, and the store that ``url`` means (None: the one of the settings)."""
    if url is None:
        settings = await read_settings(nix)
        return settings, await locate(nix, settings.store)
    # Each is a process that takes as long to start as it has to do.
    return await together(read_settings(nix), locate(nix, url))


async def _connect(
    urls: Sequence[str],
    connect: Callable[[str], Awaitable[BinaryCache]],
    observer: Observer,
    left_out: tuple[type[PrefetchError], ...],
) -> Caches:
    """Ask the caches who they are, all at once: each that is away takes its time to say so.

    An error of the kinds ``left_out`` costs its cache alone; any other is raised.
    """

    async def one(url: str) -> BinaryCache | PrefetchError:
        try:
            return await connect(url)
        except PrefetchError as error:
            return error

    caches = []
    hints: dict[str, None] = {}
    answers = await asyncio.gather(*map(one, dict.fromkeys(urls)))
    if answers and all(type(each) is NotAvailableError for each in answers):
        raise NotAvailableError(
            "\n".join(each.message for each in answers if isinstance(each, NotAvailableError)),
            hint="a binary cache has a file nix-cache-info at its URL: look at the URL, which "
            "--substituter or Nix's setting substituters names",
        )
    for answer in answers:
        if isinstance(answer, BinaryCache):
            caches.append(answer)
        elif isinstance(answer, left_out):
            observer.notice(f"not used: {answer.message}")
            if answer.hint is not None:
                hints[answer.hint] = None
        else:
            raise answer
    if urls and not caches:
        otherwise = "run it again when there is a network; what is kept stays as it is"
        raise TransientError(
            "none of the caches can be reached", hint="; ".join(hints) or otherwise
        )
    return Caches(caches, is_whole=len(caches) == len(set(urls)))


def _trusted_keys(texts: Sequence[str]) -> TrustedKeys:
    keys = []
    for text in texts:
        try:
            keys.append(PublicKey.parse(text))
        except FormatError as error:
            raise RequestError(
                f"not a public key: {shown(text)!r}",
                hint="NAME:BASE64, as `prefetch key generate` prints",
            ) from error
    return TrustedKeys(keys)
