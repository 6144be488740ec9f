"""Who vouches for a path: the keys that its clients have to trust.

A client accepts a path from a cache if the path is content-addressed, or if a key that the client
trusts has signed it. Every client trusts :data:`STOCK_KEY` unless configured otherwise; other keys
have to be configured. A path for which neither holds is refused by every client, which then builds
it.

Blocking, for use off the event loop: verifying a signature takes some 100 microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError, printable
from mirror.formats.signing import PublicKey, TrustedKeys
from mirror.formats.verifier import matching_content_address

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from mirror.formats.path_info import PathInfo
    from mirror.formats.store_path import StorePath

STOCK_KEY: Final = PublicKey.parse("cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=")
"""The key that Nix trusts as it is shipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouching:
    """Who vouches for each of some paths.

    ``by_key`` has the paths that each of the known keys has signed; a path may be with several.
    ``refused`` are those that no client takes, each with the names of the unknown keys that have
    signed it, of which there may be none. What is in neither follows from its content.
    ``is_recorded``: it was recorded which keys were trusted when the paths were kept, so an unknown
    key is one that no sync trusted.
    """

    by_key: Mapping[PublicKey, frozenset[StorePath]] = field(default_factory=dict)
    refused: Mapping[StorePath, tuple[str, ...]] = field(default_factory=dict)
    is_recorded: bool = True

    def without(self, paths: Collection[StorePath]) -> Vouching:
        """The same without paths that clients are not given."""
        left = {key: of_key.difference(paths) for key, of_key in self.by_key.items()}
        return replace(
            self,
            by_key={key: of_key for key, of_key in left.items() if of_key},
            refused={path: names for path, names in self.refused.items() if path not in paths},
        )

    @property
    def problem(self) -> str | None:
        """A one-line message about the refused paths; None if there are none."""
        if not self.refused:
            return None
        example = min(self.refused)
        count = len(self.refused)
        if not self.is_recorded:
            what = f"{example} was" if count == 1 else f"{count:,} paths, such as {example}, were"
            return (
                f"{what} kept by an earlier version, which did not record whose signatures it "
                "trusted: the next sync records them, and clients can then be told"
            )
        paths = f"{example} has" if count == 1 else f"{count:,} paths, such as {example}, have"
        signers = sorted({name for each in self.refused.values() for name in each})
        names = [printable(name) for name in signers]
        by = f" (some are signed by {', '.join(names)}, which no sync trusted)" if names else ""
        return (
            f"{paths} no signature that a client could be told to trust{by}: clients refuse "
            f"{'it' if count == 1 else 'them'}"
        )

    def client_keys(self, preferred: Sequence[PublicKey] = ()) -> tuple[PublicKey, ...]:
        """The keys that a client lacks, as few as are enough; ``preferred`` ones before others."""
        left = set().union(*self.by_key.values()) - self.by_key.get(STOCK_KEY, frozenset())
        rank = {key: number for number, key in enumerate(preferred, start=1)}
        found = []
        while left:
            key = max(
                self.by_key,
                key=lambda key: (len(self.by_key[key] & left), rank.get(key, 0), str(key)),
            )
            found.append(key)
            left -= self.by_key[key]
        return tuple(sorted(found, key=str))


def vouching(
    infos: Iterable[PathInfo],
    known: Iterable[PublicKey],
    recorded: Mapping[PublicKey, Collection[StorePath]] | None = None,
) -> Vouching:
    """Say who of the ``known`` keys vouches for each path, by the signatures that it has.

    ``recorded`` is what was found out before: where a path still has a signature by the name of
    such a key, that signature is not verified again.
    """
    keys = list(dict.fromkeys((*known, *(recorded or ()), STOCK_KEY)))
    named: dict[str, list[PublicKey]] = {}
    for key in keys:
        named.setdefault(key.name, []).append(key)
    before = {key: frozenset(paths) for key, paths in (recorded or {}).items()}
    by_key: dict[PublicKey, set[StorePath]] = {}
    refused = {}
    for info in infos:
        if follows_from_its_content(info):
            continue
        names = tuple(dict.fromkeys(text.partition(":")[0] for text in info.signatures))
        signers = [
            key
            for name in names
            for key in named.get(name, ())
            if info.path in before.get(key, ()) or _has_signed(key, info)
        ]
        for key in signers:
            by_key.setdefault(key, set()).add(info.path)
        if not signers:
            refused[info.path] = names
    return Vouching(
        by_key={key: frozenset(by_key[key]) for key in sorted(by_key, key=str)}, refused=refused
    )


def follows_from_its_content(info: PathInfo) -> bool:
    """Whether a path's content address makes its name, so that no signature is needed."""
    try:
        return matching_content_address(info) is not None
    except FormatError:
        return False


def _has_signed(key: PublicKey, info: PathInfo) -> bool:
    signatures = tuple(text for text in info.signatures if text.startswith(f"{key.name}:"))
    return TrustedKeys([key]).verify(replace(info, signatures=signatures)) is not None
