"""The verifier: the one place where a :class:`VerifiedPath` is made.

It does no I/O and is fed bytes, in order. What it is told beforehand (the :class:`Claim`) is not
believed: after the last byte, and only then, the hash, the size, the NAR's own structure and,
where there is one, the content address have been compared, and the path may be committed.

Whose signature a claim carries is another question (:mod:`mirror.formats.signing`), which the
caller answers; a path that matches its content address needs none.
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError, IntegrityError
from mirror.formats import hashes
from mirror.formats.compression import decompressor
from mirror.formats.content_address import ContentAddress
from mirror.formats.hashes import Hash
from mirror.formats.nar_parser import NarParser
from mirror.formats.narinfo import largest_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath

_VERIFIER: Final = object()
"""What tells the verifier from anyone else who would make a :class:`VerifiedPath`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a source claims about a NAR that it is about to send.

    ``compression`` is how the bytes arrive (``none``, ``xz``, …); ``file_hash`` and ``file_size``
    are of the bytes as they arrive, where known. ``made_here``: nobody upstream compressed it, so
    a destination may compress it as it likes. ``is_signed``: somebody who is trusted vouches for
    the NAR's size.
    """

    info: PathInfo
    compression: str = "none"
    file_hash: Hash | None = None
    file_size: int | None = None
    made_here: bool = False
    is_signed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedPath:
    """A path whose every byte has been read and compared with the claim.

    Only :meth:`NarVerifier.finish` makes one. ``file_hash`` (SHA-256) and ``file_size`` are of the
    bytes as they arrived; without compression they are the NAR's.
    """

    info: PathInfo
    file_hash: Hash
    file_size: int
    verifier: InitVar[object]

    def __post_init__(self, verifier: object) -> None:
        if verifier is not _VERIFIER:
            raise TypeError("only the verifier makes a VerifiedPath")


class NarVerifier:
    """Reads a NAR as it arrives and compares it with what is claimed.

    Feeding and finishing take the time that decompressing and hashing take: both are called off the
    event loop, and one after the other.
    """

    def __init__(self, claim: Claim) -> None:
        """Prepare to read what ``claim`` announces.

        Raises:
            IntegrityError: the claim itself cannot hold (an unknown compression, a NAR hash that is
                no SHA-256, a content address that does not make its path).

        """
        self._claim = claim
        self._failure: IntegrityError | None = None
        self._file_limit = _file_limit(claim)
        info = claim.info
        self._is_plain = claim.compression == "none"
        """Whether the bytes that arrive are the NAR, so that its size and hash are theirs."""
        self._file_size = 0
        self._nar_size = 0
        self._file_hash = hashes.new("sha256")
        """Of the bytes as they arrive; not fed where these are the NAR's."""
        self._nar_hash = hashes.new("sha256")
        self._file_watch: _Watch | None = None
        """For the rare claim of another algorithm than SHA-256."""
        if info.nar_hash.algorithm != "sha256":
            raise self._wrong(f"its NAR hash is a {info.nar_hash.algorithm}, not a sha256")
        try:
            if claim.file_hash is not None and claim.file_hash.algorithm != "sha256":
                self._file_watch = _Watch(claim.file_hash)
            self._decompressor = decompressor(claim.compression)
            self._content = _content_watch(info)
        except FormatError as error:
            raise self._wrong(error.message) from error
        self._parser = NarParser(self._content if isinstance(self._content, _FlatWatch) else None)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Read more of the bytes as they arrive; gives pieces of the NAR, uncompressed.

        The iterator is exhausted before the next call. What it gives is not verified yet.

        Raises:
            IntegrityError: what came is more than claimed, or malformed.

        """
        if self._failure is not None:
            raise self._failure
        nar_size = self._claim.info.nar_size
        self._file_size += len(chunk)
        if self._file_size > self._file_limit:
            raise self._wrong(f"more than {self._file_limit} bytes were received")
        if not self._is_plain:
            self._file_hash.update(chunk)
        if self._file_watch is not None:
            self._file_watch.update(chunk)
        try:
            for piece in self._decompressor.feed(chunk):
                self._nar_size += len(piece)
                if self._nar_size > nar_size:
                    raise self._wrong(f"the NAR is longer than {nar_size} bytes")
                self._nar_hash.update(piece)
                if isinstance(self._content, _Watch):
                    self._content.update(piece)
                self._parser.feed(piece)
                yield piece
        except FormatError as error:
            raise self._wrong(error.message) from error

    def finish(self) -> VerifiedPath:
        """Say that nothing more comes, and compare.

        Raises:
            IntegrityError: something is not as claimed; the text says what was expected and what
                came.

        """
        if self._failure is not None:
            raise self._failure
        claim, info = self._claim, self._claim.info
        self._compare("file size mismatch", claim.file_size, self._file_size)
        try:
            self._decompressor.finish()
            self._compare("NAR size mismatch", info.nar_size, self._nar_size)
            self._parser.finish()
        except FormatError as error:
            raise self._wrong(error.message) from error
        nar_hash = Hash("sha256", self._nar_hash.digest())
        file_hash = nar_hash if self._is_plain else Hash("sha256", self._file_hash.digest())
        arrived = file_hash if self._file_watch is None else self._file_watch.hash
        self._compare("file hash mismatch", claim.file_hash, arrived)
        self._compare("NAR hash mismatch", info.nar_hash, nar_hash)
        if isinstance(self._content, _FlatWatch) and not self._content.is_plain_file:
            raise self._wrong(
                f"its content address {info.content_address} is that of a file that is not "
                "executable, and it is something else"
            )
        if self._content is not None:
            self._compare("content hash mismatch", self._content.expected, self._content.hash)
        return VerifiedPath(
            info=info, file_hash=file_hash, file_size=self._file_size, verifier=_VERIFIER
        )

    def _compare(self, what: str, expected: object, found: object) -> None:
        if expected is not None and expected != found:
            raise self._wrong(f"{what}: expected {expected}, got {found}")

    def _wrong(self, problem: str) -> IntegrityError:
        """Build the error to raise; the verifier cannot be used any more."""
        self._failure = IntegrityError(f"{self._claim.info.path}: {problem}")
        return self._failure


class _Watch:
    """Hashes what it is fed, to be compared with ``expected``."""

    def __init__(self, expected: Hash) -> None:
        self.expected = expected
        self._hash = hashes.new(expected.algorithm)

    def update(self, data: bytes) -> None:
        self._hash.update(data)

    @property
    def hash(self) -> Hash:
        return Hash(self.expected.algorithm, self._hash.digest())


class _SelfReferenceWatch(_Watch):
    """Hashes a NAR that holds its own path, as if zeros stood there.

    A path that follows from content which holds the path could not be found otherwise; where the
    zeros are is hashed at the end.
    """

    def __init__(self, expected: Hash, path: StorePath) -> None:
        super().__init__(expected)
        self._needle = path.hash_part.encode()
        self._tail = b""
        self._tail_position = 0
        self._found: list[int] = []

    def update(self, data: bytes) -> None:
        data = self._tail + data
        start = data.find(self._needle)
        while start >= 0:
            self._found.append(self._tail_position + start)
            start = data.find(self._needle, start + len(self._needle))
        data = data.replace(self._needle, bytes(len(self._needle)))
        kept = max(0, len(data) - len(self._needle) + 1)
        self._hash.update(data[:kept])
        self._tail = data[kept:]
        self._tail_position += kept

    @property
    def hash(self) -> Hash:
        final = self._hash.copy()
        final.update(self._tail)
        final.update("".join(f"|{position}" for position in self._found).encode())
        return Hash(self.expected.algorithm, final.digest())


class _FlatWatch:
    """Hashes the contents of a NAR that is one file; a sink of the NAR's parser."""

    def __init__(self, expected: Hash) -> None:
        self.expected = expected
        self.is_plain_file = False
        self._hash = hashes.new(expected.algorithm)

    @property
    def hash(self) -> Hash:
        return Hash(self.expected.algorithm, self._hash.digest())

    def enter_directory(self, name: bytes) -> None:
        """A directory is no plain file, nor is what it holds."""

    def leave_directory(self) -> None:
        """Nothing to note."""

    def symlink(self, name: bytes, target: bytes) -> None:
        """A link is no plain file."""

    def regular(self, name: bytes, size: int, *, executable: bool) -> None:  # noqa: ARG002 - a sink's
        self.is_plain_file = not name and not executable

    def contents(self, data: memoryview) -> None:
        if self.is_plain_file:
            self._hash.update(data)


def matching_content_address(info: PathInfo) -> ContentAddress | None:
    """The content address that ``info`` claims, if it and the references make the path.

    What it says of the path's references is then as good as signed: others would make another path.
    None where no content address is claimed.

    Raises:
        FormatError: it makes another path, or is of a kind that is not known here.

    """
    if info.content_address is None:
        return None
    address = ContentAddress.parse(info.content_address)
    path = address.path(
        info.path.name,
        [reference for reference in info.references if reference != info.path],
        refers_to_itself=info.path in info.references,
    )
    if path != info.path:
        raise FormatError(
            f"its content address {address} and its references make another path: "
            f"expected {info.path}, got {path}"
        )
    return address


def _file_limit(claim: Claim) -> int:
    """How many bytes may arrive."""
    if claim.file_size is not None:
        return claim.file_size
    if claim.compression == "none":
        return claim.info.nar_size
    return largest_file(claim.info.nar_size)


def _content_watch(info: PathInfo) -> _Watch | _FlatWatch | None:
    """What the content must hash to; None where no content address is claimed.

    Raises:
        FormatError: the content address does not make the path, or cannot be checked here.

    """
    address = matching_content_address(info)
    if address is None:
        return None
    if address.method != "nar":
        return _FlatWatch(address.hash)
    if info.path in info.references:
        return _SelfReferenceWatch(address.hash, info.path)
    if address.hash.algorithm != info.nar_hash.algorithm:
        return _Watch(address.hash)
    if address.hash != info.nar_hash:
        raise FormatError(
            f"its content address and its NAR's hash differ: {address.hash} and {info.nar_hash}"
        )
    return None
