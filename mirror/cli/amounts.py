"""Amounts that options have: sizes and rates, in bytes."""

from __future__ import annotations

import re
from typing import Final

from mirror.errors import RequestError
from mirror.planning.lists.list_values import amount

_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgG]?)(?:i?[bB])?(?:/s)?")
_FACTORS: Final = {"": 1, "k": 1000, "m": 1000_000, "g": 1000_000_000}


def read_size(text: str) -> int:
    """Read a number of bytes.

    Raises:
        RequestError: it is none.

    """
    size = amount(text.strip())
    if size is None:
        raise RequestError(
            f"not a size: {text!r}",
            hint="give a number of bytes, with one of k, M, G, T, Ki, Mi, Gi, Ti, such as 200G",
        )
    return size


def read_rate(text: str) -> int:
    """Read a number of bytes a second.

    Raises:
        RequestError: it is none.

    """
    found = _RATE.fullmatch(text.strip())
    rate = int(float(found[1]) * _FACTORS[found[2].lower()]) if found else 0
    if rate <= 0:
        raise RequestError(
            f"not a rate: {text!r}", hint="give bytes per second, such as 500k or 2M"
        )
    return rate
