"""What a server serves: the interface of cache directories and Nix stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from mirror.destinations import Destination
    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath
    from mirror.serve.http.answers import Answer, Refusal


class Library(Protocol):
    """Paths that can be served."""

    @property
    def destination(self) -> Destination:
        """The destination with its generations, receipts and run records."""
        ...

    def absence(self) -> str | None:
        """Why nothing can be answered now, None if all can."""
        ...

    async def file_bytes(self) -> int | None:
        """The size of all NARs as they are stored; None where they are not stored as such."""
        ...

    async def public_keys(self) -> tuple[str, ...]:
        """The keys that sign what was made here, the newest last."""
        ...

    async def infos(self, paths: Collection[StorePath]) -> Collection[PathInfo]:
        """What is given of those of the paths that are there, with all signatures.

        Raises:
            DestinationError: they cannot be read.
            ToolError: the store does not answer.

        """
        ...

    async def signatures_state(self) -> int:
        """A number that changes when the served signatures may have changed."""
        ...

    async def narinfo(self, hash_part: str) -> Answer | Refusal:
        """The narinfo of a path, if it is there."""
        ...

    async def nar(self, name: str) -> Answer | Refusal:
        """The file that a narinfo names ``nar/<name>``."""
        ...

    async def unpacked(self, path: StorePath) -> Callable[[], Iterator[bytes]] | None:
        """A function that gives the uncompressed NAR of a path; None without the path.

        The iterator blocks, and raises OSError or FormatError where the path is damaged.
        """
        ...
