"""What ``prune`` and ``sign`` say, to a person and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirror.quantities import moment, number, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.destinations import Generation
    from mirror.destinations.cache.signatures import Signed, Unsigned
    from mirror.formats.signing import PublicKey
    from mirror.sync.kept.prune import Pruned


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """How a pruning of ``destination`` went, or would go."""

    pruned: Pruned
    unsigned: Unsigned | None
    destination: str
    removed: bool
    dry_run: bool

    def lines(self) -> Iterator[str]:
        """One line a dropped generation, one for each total."""
        selection = self.pruned.selection
        would = "would be " if self.dry_run else ""
        for each in selection.dropped:
            yield (
                f"{each.target}: generation {each.number} of {moment(each.created)} "
                f"{would}dropped, {number(len(each.paths), 'path')}, {size(each.nar_bytes)}"
            )
        totals = [*self._totals(would), *self._signature_lines(would)]
        yield from totals or ([] if selection.dropped else [self._nothing()])

    def notices(self) -> Iterator[str]:
        """What its user should know besides."""
        selection = self.pruned.selection
        if not self.removed:
            for name in selection.unlisted:
                yield f"{name} is on none of the lists and stays as it is: --removed drops it"
        if self.unsigned is not None and self.unsigned.left:
            yield (
                f"{number(self.unsigned.left, 'path')} with older signatures only: "
                "kept, until `prefetch sign --all` has signed them anew"
            )

    def document(self) -> dict[str, Any]:
        """``prune --json``."""
        selection, swept = self.pruned.selection, self.pruned.swept
        collectable, unsigned = self.pruned.collectable, self.unsigned
        held_back = None if swept is None else swept.held_back
        return {
            "destination": self.destination,
            "dry_run": self.dry_run,
            "dropped": [_generation(each) for each in selection.dropped],
            "kept": [_generation(each) for each in selection.kept],
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
        swept, collectable = self.pruned.swept, self.pruned.collectable
        if swept is not None and (swept.retired or swept.files):
            yield (
                f"{number(len(swept.retired), 'path')} {would}taken out of {self.destination}, "
                f"{number(swept.files, 'file')} {would}deleted, {size(swept.bytes)}"
            )
        if swept is not None and swept.unreadable:
            yield (
                f"no NAR {would}deleted, since {', '.join(swept.unreadable)} cannot be read: sync "
                "again, which mends it, and prune then"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SignReport:
    """How signing went, or would go."""

    signed: Signed
    key: PublicKey
    destination: str
    dry_run: bool

    def lines(self) -> Iterator[str]:
        """One line for what was signed, one for what else there is."""
        signed = self.signed
        would = "would be " if self.dry_run else ""
        yield (
            f"{number(signed.signed, 'path')} {would}signed with {self.key.name} at "
            f"{self.destination}, {signed.already:,} had its signature already"
        )
        if signed.others:
            yield f"{number(signed.others, 'path')} signed with earlier keys only: --all adds to it"

    def document(self) -> dict[str, Any]:
        """``sign --json``."""
        return {
            "destination": self.destination,
            "dry_run": self.dry_run,
            "key": str(self.key),
            "signed": self.signed.signed,
            "already": self.signed.already,
            "earlier_keys_only": self.signed.others,
            "upstream": self.signed.upstream,
        }


def _generation(each: Generation) -> dict[str, Any]:
    return {
        "target": each.target,
        "number": each.number,
        "created": each.created.isoformat(),
        "paths": len(each.paths),
        "nar_bytes": each.nar_bytes,
        "complete": not each.missing,
    }
