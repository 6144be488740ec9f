"""The mirror's own signatures in a cache directory: adding and removing them, and their keys.

``public-keys`` lists the keys that sign what was made here, ``name:base64`` a line, the newest
last. A key is added before its first signature, and removed after its last, so that every signature
of ours can be recognised.

A path was *made here* if it has no signature, or one by those keys. What upstream signed keeps its
signatures and gets none of ours, with one exception: a path that every client would refuse, because
no sync trusted the keys of its signatures when it was kept (it came from a cache with
``trusted=true`` in its URL). It is signed like what was made here. Narinfos are replaced whole. The
caller holds the directory's lock unless nothing changes. Blocking, for use off the event loop.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.destinations import files
from mirror.destinations.cache.layout import PUBLIC_KEYS, narinfo_name
from mirror.destinations.cache.narinfo_files import narinfo_files
from mirror.destinations.capabilities import Signed, Unsigned
from mirror.errors import DestinationError, FormatError
from mirror.formats.narinfo import parse_narinfo, print_narinfo
from mirror.formats.signing import PublicKey, TrustedKeys, fingerprint
from mirror.system.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mirror.destinations.cache.checksums import Checksums
    from mirror.formats.narinfo import NarInfo
    from mirror.formats.path_info import PathInfo
    from mirror.formats.signing import SecretKey
    from mirror.formats.store_path import StorePath


def read_public_keys(directory: Path) -> list[PublicKey]:
    """The keys that signed what was made here, the newest last.

    Raises:
        DestinationError: they cannot be read.

    """
    file = directory / PUBLIC_KEYS
    try:
        data = b""
        with files.explained(file), contextlib.suppress(FileNotFoundError):
            data = files.read_plain_file(file)
        return parse_public_keys(data)
    except FormatError as error:
        raise DestinationError(
            f"{file}: {error.message}",
            hint="correct it: each line is a key, as `prefetch key show` prints it",
        ) from error


def parse_public_keys(data: bytes) -> list[PublicKey]:
    """Read the file of the mirror's keys.

    Raises:
        FormatError: a line of it is no key.

    """
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        raise FormatError(f"it is not UTF-8: {error}") from error
    return [PublicKey.parse(line) for line in lines if line]


class Signatures:
    """The signatures of the cache ``directory``; ``temporaries`` is on the same file system."""

    def __init__(self, directory: Path, *, temporaries: Path, checksums: Checksums) -> None:
        self._directory = directory
        self._temporaries = temporaries
        self._checksums = checksums

    def record_key(self, key: PublicKey) -> None:
        """Add a key to those that sign here, durably; one that is there already keeps its place.

        Raises:
            DestinationError: the file cannot be read or written.

        """
        known = read_public_keys(self._directory)
        if key not in known:
            self._write_public_keys([*known, key])
            self._record()

    def add(
        self,
        key: SecretKey,
        *,
        again: bool,
        dry_run: bool,
        is_refused: Callable[[PathInfo], bool] = lambda _: False,
    ) -> Signed:
        """Sign what was made here and has no signature, and what ``is_refused`` by every client.

        With ``again`` also what has signatures of other keys of ours, which it keeps. The key
        is one of ``public-keys`` already, unless this is a ``dry_run``.

        Raises:
            DestinationError: the directory cannot be read or written.

        """
        public = key.public
        ours = [*read_public_keys(self._directory), public]
        count: Counter[str] = Counter()
        rewritten = {}
        for file, narinfo in self._narinfos():
            signers = set(_signers(narinfo.info, ours))
            if public in signers:
                count["already"] += 1
            elif signers - {None} and not again:
                count["others"] += 1
            elif signers == {None} and not is_refused(narinfo.info):
                count["upstream"] += 1
            else:
                count["signed"] += 1
                rewritten[file] = _signed_by(key, narinfo)
        if not dry_run:
            self._rewrite(rewritten)
            self._record()
        return Signed(
            signed=count["signed"],
            already=count["already"],
            others=count["others"],
            upstream=count["upstream"],
        )

    def add_to(self, key: SecretKey, paths: Collection[StorePath]) -> None:
        """Sign these paths, whoever else has; the key is one of ``public-keys`` already.

        What has its signature is left as it is. The narinfos' checksums are recorded when a
        generation is kept.

        Raises:
            DestinationError: the directory cannot be read or written.

        """
        rewritten = {}
        for path in paths:
            file = self._directory / narinfo_name(path)
            with files.explained(file):
                data = files.read_plain_file(file)
            try:
                narinfo = parse_narinfo(data)
            except FormatError:
                continue  # damaged since: whoever keeps it says so
            if TrustedKeys([key.public]).verify(narinfo.info) is None:
                rewritten[file] = _signed_by(key, narinfo)
        self._rewrite(rewritten)

    def remove_old(self, *, dry_run: bool) -> Unsigned:
        """Remove the signatures of all our keys but the newest; then forget those keys.

        No path is left without one of ours that had one: one that has older ones only keeps them.

        Raises:
            DestinationError: the directory cannot be read or written.

        """
        keys = read_public_keys(self._directory)
        if not keys:
            return Unsigned(newest=None, paths=0, left=0, forgotten=())
        old = set(keys[:-1])
        used = {keys[-1]}
        paths = left = 0
        rewritten = {}
        for file, narinfo in self._narinfos():
            signers = _signers(narinfo.info, keys)
            staying = tuple(
                signature
                for signature, signer in zip(narinfo.info.signatures, signers, strict=True)
                if signer not in old
            )
            if old & set(signers) and keys[-1] not in signers:
                used |= {signer for signer in signers if signer is not None}
                left += 1
            elif len(staying) < len(signers):
                paths += 1
                if not dry_run:
                    rewritten[file] = _signed(narinfo, staying)
        forgotten = tuple(key for key in keys if key not in used)
        if not dry_run:
            self._rewrite(rewritten)
            if forgotten:
                self._write_public_keys([key for key in keys if key in used])
            self._record()
        return Unsigned(newest=keys[-1], paths=paths, left=left, forgotten=forgotten)

    def _narinfos(self) -> Iterator[tuple[Path, NarInfo]]:
        with files.explained(self._directory):
            found = narinfo_files(self._directory)
        for each in found.values():
            if each.narinfo is not None:
                yield each.file, each.narinfo

    def _write_public_keys(self, keys: Sequence[PublicKey]) -> None:
        self._rewrite({self._directory / PUBLIC_KEYS: "".join(f"{key}\n" for key in keys).encode()})

    def _rewrite(self, contents: Mapping[Path, bytes]) -> None:
        if not contents:
            return
        with files.explained(self._directory):
            self._checksums.announce((file.name, data) for file, data in contents.items())
            for file, data in contents.items():
                files.replace_file(file, data, temporaries=self._temporaries, like=file)
            files.sync_directory(self._directory)

    def _record(self) -> None:
        """Have one checksum only of each file, that of what it has now.

        Until then also that of what it had before, which `sha256sum --check` finds to be another's.
        """
        with files.explained(self._directory):
            self._checksums.record()


@dataclass(frozen=True, slots=True)
class CacheSigning:
    """The signing in a cache directory, as a destination offers it."""

    signatures: Signatures

    async def add(
        self,
        key: SecretKey,
        *,
        again: bool,
        dry_run: bool,
        is_refused: Callable[[PathInfo], bool],
    ) -> Signed:
        """Sign what was made here."""
        return await in_thread(
            self.signatures.add, key, again=again, dry_run=dry_run, is_refused=is_refused
        )

    async def remove_old(self, *, dry_run: bool) -> Unsigned:
        """Take away the signatures of all keys of ours but the newest."""
        return await in_thread(self.signatures.remove_old, dry_run=dry_run)


def _signers(info: PathInfo, keys: Iterable[PublicKey]) -> list[PublicKey | None]:
    """Which of our keys made each of the path's signatures; None for other keys."""
    return [
        next(
            (
                key
                for key in keys
                if signature.startswith(f"{key.name}:")
                and TrustedKeys([key]).verify(replace(info, signatures=(signature,)))
            ),
            None,
        )
        for signature in info.signatures
    ]


def _signed_by(key: SecretKey, narinfo: NarInfo) -> bytes:
    signature = key.sign(fingerprint(narinfo.info))
    return _signed(narinfo, (*narinfo.info.signatures, signature))


def _signed(narinfo: NarInfo, signatures: tuple[str, ...]) -> bytes:
    return print_narinfo(replace(narinfo, info=replace(narinfo.info, signatures=signatures)))
