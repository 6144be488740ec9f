"""What the benchmarks print: a row for each comparison, as a table of Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from benchmarks.measuring import median_seconds, peak_megabytes

if TYPE_CHECKING:
    from benchmarks.measuring import Comparison

HEADER = (
    "| what | against | ours | theirs | ratio | to reach | of processor | peak, MB |\n"
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison; ``reach`` is what is aimed at, ``processor`` the ratio of processor time."""

    what: str
    against: str
    ours: str
    theirs: str
    ratio: float
    reach: str
    processor: float | None
    peak: float

    @classmethod
    def of(cls, what: str, against: str, compared: Comparison, *, reach: float | str) -> Self:
        """The row of a comparison of times; ``reach`` is the largest ratio that is aimed at."""
        return cls(
            what=what,
            against=against,
            ours=f"{median_seconds(compared.ours):.2f} s",
            theirs=f"{median_seconds(compared.theirs):.2f} s",
            ratio=compared.ratio,
            reach=reach if isinstance(reach, str) else f"{reach:.2f}",
            processor=compared.processor_ratio,
            peak=peak_megabytes(compared.ours),
        )

    def __str__(self) -> str:
        processor = "" if self.processor is None else f"{self.processor:.2f}"
        return (
            f"| {self.what} | {self.against} | {self.ours} | {self.theirs} | {self.ratio:.2f} | "
            f"{self.reach} | {processor} | {self.peak:.0f} |"
        )
