"""What the benchmarks print: a row for each comparison, as a table of Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from benchmarks.measuring import median_seconds, peak_megabytes

if TYPE_CHECKING:
    from benchmarks.measuring import Comparison

HEADER = (
    "| what | against | ours, s | theirs, s | ratio | to reach | peak, MB |\n"
    "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison; ``reach`` is the ratio that is aimed at, at most."""

    what: str
    against: str
    ours: float
    theirs: float
    ratio: float
    reach: float
    peak: float

    @classmethod
    def of(cls, what: str, against: str, compared: Comparison, *, reach: float) -> Self:
        """The row of a comparison."""
        return cls(
            what=what,
            against=against,
            ours=median_seconds(compared.ours),
            theirs=median_seconds(compared.theirs),
            ratio=compared.ratio,
            reach=reach,
            peak=peak_megabytes(compared.ours),
        )

    def __str__(self) -> str:
        return (
            f"| {self.what} | {self.against} | {self.ours:.2f} | {self.theirs:.2f} | "
            f"{self.ratio:.2f} | {self.reach:.2f} | {self.peak:.0f} |"
        )
