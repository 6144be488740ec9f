"""What is made on this machine from what was downloaded, and its way to the verifier.

Native sources download into a scratch directory, make a NAR of it, compare its hash with the fixed
output's, and only then offer it; a place that gave something else is noted and the next is tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.errors import (
    Attempt,
    DestinationError,
    FormatError,
    IntegrityError,
    NotAvailableError,
    SourceError,
    TransientError,
)
from mirror.formats import hashes, nar
from mirror.formats.hashes import Hash
from mirror.formats.path_info import PathInfo
from mirror.formats.verifier import Claim
from mirror.masking import without_secrets
from mirror.nix.file_tree import file_contents
from mirror.sources.server_errors import CertificateError, ChangedError
from mirror.sources.source import Nar
from mirror.system.chunks import in_chunks
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Iterable,
        Iterator,
    )

    from mirror.planning.fetchers.fixed_outputs import FixedOutput
    from mirror.sources.http.client import HttpClient

MORE_ROOM: Final = "give it room, or name another directory with TMPDIR"
"""What to do about a scratch directory that is too small."""

DOWNLOAD_CAP: Final = 64 << 30
"""The most that is downloaded where nobody says beforehand how much it is: 64 GiB."""


@dataclass(frozen=True, slots=True)
class Made:
    """A NAR that can be written, as often as needed; ``file`` is set where it is of that file."""

    size: int
    pieces: Callable[[], Iterator[bytes]]
    file: Path | None = None

    @classmethod
    def of_node(cls, node: nar.Node) -> Made:
        """The NAR of a tree."""
        return cls(nar.serialized_size(node), partial(nar.serialize, node))

    @classmethod
    def of_file(cls, path: Path, *, executable: bool) -> Made:
        """The NAR of a downloaded file. It blocks briefly."""
        size = path.stat().st_size
        node = nar.Regular(size, executable, partial(file_contents, path))
        made = cls.of_node(node)
        return replace(made, file=None if executable else path)

    @classmethod
    def of_nar(cls, path: Path) -> Made:
        """A file that is a NAR itself. It blocks briefly."""
        return cls(path.stat().st_size, partial(file_contents, path))


async def offered(made: Made, fixed: FixedOutput, location: str) -> Nar:
    """The NAR of ``made``, if it is the fixed output.

    Raises:
        IntegrityError: it is something else; the text has both hashes.

    """
    if fixed.mode == "nar":
        watched: Iterable[bytes] = made.pieces()
    elif made.file is not None:
        watched = file_contents(made.file)
    else:
        raise IntegrityError(f"{location}: not a plain file, and its hash is that of one")
    found = await _hash(watched, fixed.hash.algorithm, location)
    if found != fixed.hash:
        raise IntegrityError(f"{location}: hash mismatch: expected {fixed.hash}, got {found}")
    if fixed.mode == "nar" and found.algorithm == "sha256":
        nar_hash = found
    else:
        nar_hash = await _hash(made.pieces(), "sha256", location)
    info = PathInfo(
        path=fixed.path,
        nar_hash=nar_hash,
        nar_size=made.size,
        content_address=fixed.content_address,
    )
    return Nar(
        claim=Claim(info=info, file_size=made.size, made_here=True),
        chunks=in_chunks(made.pieces()),
        location=location,
    )


async def first_good(
    places: Iterable[str],
    attempt: Callable[[str], Awaitable[Nar]],
    *,
    otherwise: str,
    whoever_answers: Callable[[str], Awaitable[Nar]] | None = None,
) -> Nar:
    """The first of ``places`` that gives the right thing; ``otherwise`` says what failed.

    After all others those are asked once more whose certificate is not valid, by
    ``whoever_answers``: as nixpkgs' fetchers do, where the hash is known and no password is sent.

    Raises:
        SourceError: none does; of the strongest kind that was met, with all attempts.

    """
    errors: list[tuple[str, SourceError]] = []
    for place in places:
        try:
            nar_ = await attempt(place)
        except SourceError as error:
            errors.append((place, error))
        else:
            return replace(nar_, attempts=_attempts(errors))
    for number, (place, refused) in enumerate(errors):
        if whoever_answers is None or not isinstance(refused, CertificateError) or _has_user(place):
            continue
        try:
            nar_ = await whoever_answers(place)
        except SourceError as error:
            said = f"{refused.message}; asked nevertheless, but: {error.message}"
            errors[number] = place, CertificateError(said, hint=refused.hint)
        else:
            said = f"{refused.message}; accepted nevertheless, since its hash is right"
            errors[number] = place, CertificateError(said)
            return replace(nar_, attempts=_attempts(errors))
    raise _together(errors, otherwise)


def _has_user(url: str) -> bool:
    return "@" in url.partition("://")[2].partition("/")[0]


@contextlib.asynccontextmanager
async def scratch(parent: Path) -> AsyncIterator[Path]:
    """A directory below ``parent`` for one path, removed afterwards.

    Raises:
        DestinationError: it cannot be made, or what is in it cannot be used.

    """
    with room_in(parent):
        await asyncio.to_thread(parent.mkdir, parents=True, exist_ok=True)
        made = await asyncio.to_thread(tempfile.mkdtemp, prefix="fetch-", dir=parent)
        try:
            yield Path(made)
        finally:
            await in_thread(shutil.rmtree, made, ignore_errors=True)


@contextlib.contextmanager
def room_in(directory: Path) -> Iterator[None]:
    """Turn an :class:`OSError` about a scratch directory into an error that says what to do."""
    try:
        yield
    except OSError as error:
        raise DestinationError(
            f"the scratch directory {directory} cannot be used: {error.strerror or error}",
            hint=MORE_ROOM,
        ) from error


async def download(
    client: HttpClient,
    url: str,
    target: Path,
    *,
    cap: int = DOWNLOAD_CAP,
    any_certificate: bool = False,
) -> None:
    """Write what ``url`` gives to ``target``, in whatever encoding the server keeps it.

    ``any_certificate`` believes whoever answers to be the server. A file that changes meanwhile is
    had anew, once. At most ``cap`` bytes are written, and half of the room that there is: who sends
    without an end must not take it from the others.

    Raises:
        SourceError: it could not be downloaded, or is larger.
        DestinationError: it cannot be written.

    """
    with room_in(target.parent):
        half = (await asyncio.to_thread(shutil.disk_usage, target.parent)).free // 2
    for is_last in (False, True):
        try:
            async with client.stream(
                url, cap=min(cap, half), keep_encoding=True, any_certificate=any_certificate
            ) as chunks:
                await write(target, chunks)
        except ChangedError:
            if is_last:
                raise
        except IntegrityError as error:
            if half > cap:
                raise
            wanting = f"half of the free space at {target.parent}: {MORE_ROOM}"
            raise IntegrityError(f"{error.message}, {wanting}") from error
        else:
            return


async def write(target: Path, chunks: AsyncIterator[bytes]) -> None:
    """Write ``chunks`` to a new file, off the event loop.

    Raises:
        DestinationError: it cannot be written.

    """
    with room_in(target.parent), await asyncio.to_thread(target.open, "wb", buffering=0) as file:
        async for chunk in chunks:
            await in_thread(_write_all, file.write, chunk)


def _write_all(write_some: Callable[[bytes | memoryview], int | None], data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[write_some(left) or 0 :]


async def _hash(pieces: Iterable[bytes], algorithm: str, location: str) -> Hash:
    digest = hashes.new(algorithm)
    try:
        async for chunk in in_chunks(iter(pieces)):
            await asyncio.to_thread(digest.update, chunk)
    except FormatError as error:
        raise IntegrityError(f"{location}: {error.message}") from error
    return Hash(algorithm, digest.digest())


def _attempts(errors: list[tuple[str, SourceError]]) -> tuple[Attempt, ...]:
    found: list[Attempt] = []
    for place, error in errors:
        found.extend(
            error.attempts
            or [
                Attempt(
                    source=without_secrets(place),
                    error=error.message,
                    is_absence=isinstance(error, NotAvailableError)
                    and not isinstance(error, CertificateError),
                )
            ]
        )
    return tuple(found)


def _together(errors: list[tuple[str, SourceError]], otherwise: str) -> SourceError:
    attempts = _attempts(errors)
    if not attempts:
        return NotAvailableError(otherwise)
    message = "\n".join([f"{otherwise}:", *(f"  {attempt}" for attempt in attempts)])
    hint = next((error.hint for _, error in errors if error.hint), None)
    kinds = [type(error) for _, error in errors]
    for kind in (IntegrityError, TransientError, NotAvailableError, SourceError):
        if any(issubclass(met, kind) for met in kinds):
            joined: SourceError = kind(message, hint=hint)
            break
    joined.attempts = attempts
    return joined
