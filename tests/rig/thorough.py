"""What only the thorough suite tries: ``make test`` deselects it, ``make test-all`` does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _pytest.mark import ParameterSet


def thorough_after_the_first(values: Iterable[object]) -> list[ParameterSet]:
    """Parameters of a test, of which the first one is enough to show what it shows."""
    first, *others = values
    return [
        pytest.param(first),
        *(pytest.param(each, marks=pytest.mark.thorough) for each in others),
    ]
