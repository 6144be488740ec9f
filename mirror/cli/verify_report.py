"""What ``verify`` says, to a person and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirror.cli.documents import attempts
from mirror.quantities import number, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mirror.errors import PrefetchError
    from mirror.sync.verify.verified import Mended, Verified


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What the verification of ``destination`` found, and what became of it, if it was ``mended``.

    ``mending`` is the command that has it mended; ``problem`` is what ended the repair,
    and ``told`` are its notices.
    """

    verified: Verified
    mended: Sequence[Mended]
    destination: str
    mending: str | None
    problem: PrefetchError | None = None
    told: Sequence[str] = ()

    @property
    def is_news(self) -> bool:
        """Whether anything was not as it was written."""
        return bool(self.verified.damages)

    @property
    def is_well(self) -> bool:
        """Whether everything is as it was written, or is so again."""
        return all(each.is_mended for each in self.mended)

    @property
    def _mendable(self) -> int:
        """How many of the damaged files a repair may mend."""
        return sum(not each.damage.is_mended_by_hand for each in self.mended)

    def lines(self) -> Iterator[str]:
        """One line for each damaged file, one for what was read."""
        for each in self.mended:
            yield from _lines(each)
        found = self.verified
        amount = (
            f"{number(found.paths, 'path')} and {number(found.files, 'file')}, {size(found.bytes)}"
        )
        if not self.mended:
            yield f"all is well at {self.destination}: {amount}"
            return
        there = f"{number(len(self.mended), 'damaged file')} at {self.destination}, of {amount}"
        if self.mending is None:
            yield f"{there}; {sum(each.is_mended for each in self.mended):,} mended"
        elif mendable := self._mendable:
            which = "it" if len(self.mended) == 1 else f"{mendable:,} of them"
            which = "them" if 1 < mendable == len(self.mended) else which
            yield f"{there}; to mend {which}: {self.mending}"
        else:
            yield f"{there}; no repair mends that: do what is said above"

    def notices(self) -> Iterator[str]:
        """What its user should know besides."""
        found = self.verified
        if found.unproven:
            yield (
                f"{number(found.unproven, 'file')} without a checksum, as of before there were "
                "any, or because their record was lost: the next generation kept makes one of what "
                "is there now"
            )
        for each in found.strays:
            yield f"not of the cache, and not read: {each}"

    def document(self) -> dict[str, Any]:
        """``verify --json``."""
        found = self.verified
        return {
            "destination": self.destination,
            "checked": {"paths": found.paths, "files": found.files, "bytes": found.bytes},
            "damaged": [
                {
                    "file": each.damage.file,
                    "path": each.damage.path,
                    "problem": each.damage.problem,
                    "repaired": each.is_mended,
                    "source": each.source,
                    "attempts": attempts(each.attempts),
                    "set_aside": each.set_aside,
                    "hint": _hint(each),
                    "by_hand": each.damage.is_mended_by_hand,
                }
                for each in self.mended
            ],
            "mending": self.mending if self._mendable else None,
            "problem": self.problem
            and {"message": self.problem.message, "hint": self.problem.hint},
            "notices": list(self.told),
            "unproven": found.unproven,
            "strays": list(found.strays),
        }


def _lines(mended: Mended) -> Iterator[str]:
    damage = mended.damage
    problem = damage.problem.removeprefix(f"{damage.file}: ")
    yield f"{'mended' if mended.is_mended else 'damaged'}: {damage.file}: {problem}"
    if mended.source:
        yield f"  had again from {mended.source}"
    if damage.path is not None and damage.path not in damage.problem + damage.file:
        yield f"  {damage.path}"
    if mended.is_mended:
        return
    for attempt in mended.attempts:
        yield f"  {attempt}"
    if mended.set_aside:
        yield f"  kept from readers, as {mended.set_aside}"
    if hint := _hint(mended):
        yield f"  {hint}"


def _hint(mended: Mended) -> str | None:
    """What to do about a damage that is still there."""
    damage = mended.damage
    if damage.hint or mended.is_mended or not mended.attempts or damage.path is None:
        return damage.hint
    if damage.path.is_derivation:
        return "`prefetch sync` of its list makes it again"
    return "`prefetch sync` fetches it once somebody has it"
