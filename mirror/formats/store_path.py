"""Store paths: ``/nix/store/<32 characters of Nix base32>-<name>``.

Source: Nix's ``src/libstore/path.cc``. Only the usual store directory, ``/nix/store``, is
supported: a path's hash depends on the directory, so nothing made for another can be shared.
"""

from __future__ import annotations

import re
from typing import Final, Self

from mirror.errors import FormatError

STORE_DIRECTORY: Final = "/nix/store"
HASH_LENGTH: Final = 32
_PREFIX_LENGTH: Final = len(STORE_DIRECTORY) + 1
PATTERN: Final = (
    r"/nix/store/[0-9abcdfghijklmnpqrsvwxyz]{32}-"
    r"(?!\.{1,2}(?:-|(?![A-Za-z0-9+\-._?=])))[A-Za-z0-9+\-._?=]{1,211}"
)
"""What a well-formed store path looks like, as a part of a regular expression."""
_PATTERN: Final = re.compile(PATTERN)


def is_store_path(text: str) -> bool:
    """Whether ``text`` is a well-formed store path."""
    return _PATTERN.fullmatch(text) is not None


class StorePath(str):
    """An absolute store path, known to be well formed.

    It is a string, so that it hashes, sorts and prints as one; only :meth:`parse` and
    :meth:`from_base_name` make one from unchecked text.

    >>> path = StorePath.parse("/nix/store/7rjqb838snvvxcmpvck1smfxhkwzqal5-hello-2.12")
    >>> path.hash_part, path.name
    ('7rjqb838snvvxcmpvck1smfxhkwzqal5', 'hello-2.12')
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check ``text``.

        Raises:
            FormatError: it is not a store path (a path *below* one is not, either).

        """
        if not is_store_path(text):
            raise FormatError(f"not a store path: {text!r}")
        return cls(text)

    @classmethod
    def from_base_name(cls, text: str) -> Self:
        """Check ``text``, a store path without its directory.

        Raises:
            FormatError: it is not the base name of a store path.

        """
        return cls.parse(f"{STORE_DIRECTORY}/{text}")

    @property
    def hash_part(self) -> str:
        """The 32 characters of base32 that identify the path."""
        return self[_PREFIX_LENGTH : _PREFIX_LENGTH + HASH_LENGTH]

    @property
    def name(self) -> str:
        """What follows the hash part: ``hello-2.12``, ``hello-2.12.drv``."""
        return self[_PREFIX_LENGTH + HASH_LENGTH + 1 :]

    @property
    def base_name(self) -> str:
        """The path without the store directory."""
        return self[_PREFIX_LENGTH:]

    @property
    def is_derivation(self) -> bool:
        """Whether the name ends in ``.drv``."""
        return self.endswith(".drv")
