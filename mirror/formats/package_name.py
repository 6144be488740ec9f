"""Names of packages with their versions, ``openssh-10.2p1``, as Nix splits and compares them.

Source: Nix's ``src/libstore/names.cc``. The rule knows nothing of packages: what follows the first
dash with no letter behind it is the version, whatever it is.
"""

from __future__ import annotations

import re
from functools import cmp_to_key
from itertools import zip_longest
from typing import Final, NamedTuple

_VERSION_START: Final = re.compile(r"-(?=[^A-Za-z])", re.DOTALL)
_COMPONENT: Final = re.compile(r"[0-9]+|[^0-9.\-]+")
_LARGEST_NUMBER: Final = (1 << 31) - 1
"""A component that is a larger number is compared as text, as Nix does."""


class PackageName(NamedTuple):
    """What ``builtins.parseDrvName`` makes of a name; ``version`` may be empty.

    >>> PackageName.parse("openssh-10.2p1-dev")
    PackageName(name='openssh', version='10.2p1-dev')
    """

    name: str
    version: str

    @classmethod
    def parse(cls, text: str) -> PackageName:
        """Split a name."""
        found = _VERSION_START.search(text)
        return cls(text, "") if found is None else cls(text[: found.start()], text[found.end() :])


def compare_versions(one: str, other: str) -> int:
    """Compare as ``builtins.compareVersions`` does: -1 where ``one`` is older, 0, 1.

    >>> compare_versions("2.3pre1", "2.3"), compare_versions("2.10", "2.9")
    (-1, 1)
    """
    for left, right in zip_longest(
        _COMPONENT.findall(one), _COMPONENT.findall(other), fillvalue=""
    ):
        if _is_older(left, right):
            return -1
        if _is_older(right, left):
            return 1
    return 0


by_version: Final = cmp_to_key(compare_versions)
"""The key that sorts versions, older ones first."""


def _is_older(one: str, other: str) -> bool:
    """Whether a component is less than another: numbers by value, ``pre`` before anything."""
    left, right = _number(one), _number(other)
    if left is not None and right is not None:
        return left < right
    if one == "" and right is not None:
        return True
    if "pre" in (one, other):
        return one == "pre" != other
    if left is None and right is None:
        return one < other
    return right is not None


def _number(component: str) -> int | None:
    """The value of a component that is a number; leading zeros may make it longer."""
    if not component[:1].isdigit():
        return None
    digits = component.lstrip("0") or "0"
    value = int(digits) if len(digits) <= len(str(_LARGEST_NUMBER)) else _LARGEST_NUMBER + 1
    return value if value <= _LARGEST_NUMBER else None
