"""What ``prefetch prune`` says of its result, as text and as a document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirror.cli.members import generation
from mirror.quantities import moment, number, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.destinations.capabilities import Unsigned
    from mirror.sync.kept.prune import Pruned


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """How a pruning of ``destination`` went, or would go."""

    pruned: Pruned
    unsigned: Unsigned | None
    destination: str
    removed: bool
    dry_run: bool

    @property
    def is_lacking(self) -> bool:
        """Whether something that was asked for could not be done."""
        has_old_signatures = self.unsigned is not None and self.unsigned.left > 0
        return has_old_signatures or (self.pruned.fit is not None and self.pruned.fit.excess > 0)

    def lines(self) -> Iterator[str]:
        """One line a dropped generation, one for each total; of a dry run also what would stay."""
        selection = self.pruned.selection
        would = "would be " if self.dry_run else ""
        for each in selection.dropped:
            yield (
                f"{each.target}: generation {each.number} of {moment(each.created)} "
                f"{would}dropped, {number(len(each.paths), 'path')}, {size(each.nar_bytes)}"
            )
        if self.dry_run:
            for each in selection.kept:
                reasons = ", ".join(selection.reasons[each.target, each.number])
                yield (
                    f"{each.target}: generation {each.number} of {moment(each.created)} "
                    f"would stay: {reasons}"
                )
        totals = [*self._totals(would), *self._signature_lines(would)]
        yield from totals or ([] if selection.dropped else [self._nothing()])

    def notices(self) -> Iterator[str]:
        """What its user should know besides."""
        selection = self.pruned.selection
        if not self.removed:
            for name in selection.unlisted:
                yield f"{name} is on none of the lists, and is kept; --removed removes it"
        if self.unsigned is not None and self.unsigned.left:
            yield (
                f"{number(self.unsigned.left, 'path')} with older signatures only: "
                "kept, until `prefetch sign --all` has signed them again"
            )

        fit = self.pruned.fit
        if fit is not None and fit.excess:
            yield (
                f"--max-size {size(fit.limit)} cannot be met: {size(fit.kept_bytes)} remain, "
                f"{size(fit.excess)} too much. Only generations that always stay are left"
            )

    def document(self) -> dict[str, Any]:
        """``prune --json``."""
        selection, swept = self.pruned.selection, self.pruned.swept
        collectable, unsigned, fit = self.pruned.collectable, self.unsigned, self.pruned.fit
        held_back = None if swept is None else swept.held_back
        return {
            "destination": self.destination,
            "dry_run": self.dry_run,
            "dropped": [generation(each) for each in selection.dropped],
            "kept": [
                {**generation(each), "reasons": list(selection.reasons[each.target, each.number])}
                for each in selection.kept
            ],
            "max_size": fit
            and {
                "limit_bytes": fit.limit,
                "kept_bytes": fit.kept_bytes,
                "excess_bytes": fit.excess,
            },
            "unlisted": list(selection.unlisted),
            "swept": swept
            and {
                "paths": list(swept.retired),
                "files": swept.files,
                "bytes": swept.bytes,
                "unreadable": list(swept.unreadable),
                "held_back": held_back
                and {
                    "paths": held_back.paths,
                    "bytes": held_back.bytes,
                    "until": held_back.until.isoformat(),
                    "running": held_back.is_running,
                },
            },
            "collectable": collectable
            and {"paths": collectable.paths, "nar_bytes": collectable.nar_bytes},
            "signatures": unsigned
            and {
                "newest": unsigned.newest and str(unsigned.newest),
                "paths": unsigned.paths,
                "left": unsigned.left,
                "forgotten": [str(key) for key in unsigned.forgotten],
            },
        }

    def _totals(self, would: str) -> Iterator[str]:
        swept, collectable, fit = self.pruned.swept, self.pruned.collectable, self.pruned.fit
        if fit is not None and not fit.excess and self.pruned.selection.dropped:
            yield (
                f"the generations that {'would ' if self.dry_run else ''}stay take "
                f"{size(fit.kept_bytes)} of the {size(fit.limit)} of --max-size"
            )
        if swept is not None and (swept.retired or swept.files):
            yield (
                f"{number(len(swept.retired), 'path')} {would}removed from {self.destination}, "
                f"{number(swept.files, 'file')} {would}deleted, {size(swept.bytes)}"
            )
        if swept is not None and swept.unreadable:
            yield (
                f"no NAR {would}deleted, since {', '.join(swept.unreadable)} cannot be read: sync "
                "again, which repairs it, then prune"
            )
        if swept is not None and swept.held_back is not None:
            held_back = swept.held_back
            whose = "the running server" if held_back.is_running else "a server that ran here"
            yield (
                f"held back for clients of {whose}: {number(held_back.paths, 'path')}, "
                f"{size(held_back.bytes)}; prune again after {moment(held_back.until)}"
            )
        if collectable is not None and self.pruned.selection.dropped:
            frees = "would then free" if self.dry_run else "frees"
            yield (
                f"`nix-collect-garbage` {frees} {number(collectable.paths, 'path')}, "
                f"{size(collectable.nar_bytes)}, unless something else needs them"
            )

    def _signature_lines(self, would: str) -> Iterator[str]:
        unsigned = self.unsigned
        if unsigned is None or unsigned.newest is None:
            return
        if unsigned.paths:
            yield (
                f"older signatures {would}removed from {number(unsigned.paths, 'path')}, "
                f"those by {unsigned.newest.name} kept"
            )
        for key in unsigned.forgotten:
            yield f"{key.name} {would}forgotten"

    def _nothing(self) -> str:
        if not self.pruned.selection.kept:
            return f"{self.destination} keeps no generation: nothing to prune"
        return f"nothing to prune at {self.destination}"
