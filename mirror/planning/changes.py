"""What changed between two sets of store paths, told by packages as a person would tell it.

A path is that of a package's output, or of its source; its name says which, and which version. Of
what was merely built anew, with the same name, there is nothing to tell but how much it is.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from mirror.formats.package_name import PackageName, by_version
from mirror.quantities import number as number_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mirror.formats.store_path import StorePath

_OUTPUT: Final = re.compile(r"-[a-z]+(?:32|64)?\Z")
"""As Nix tells an output from a version: ``-dev``, ``-lib64``."""

_ARCHIVE: Final = re.compile(
    r"\.(?:tar(?:\.[a-z0-9]+)?|t[bglx]z|tbz2|zip|gz|bz2|xz|zst|lzma|gem|crate|jar|whl)\Z"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A package of which other versions are there: from ``before`` to ``after``, in their order.

    One of them is empty where it was added or removed; a version is "" where there is none.
    """

    name: str
    before: tuple[str, ...]
    after: tuple[str, ...]

    def __str__(self) -> str:
        if not self.before:
            return f"+{_with_versions(self.name, self.after)}"
        if not self.after:
            return f"-{_with_versions(self.name, self.before)}"
        return f"{_with_versions(self.name, self.before)} → {_versions(self.after)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The ``packages`` that changed, and the paths that came and went.

    ``rebuilt`` counts the paths that came with a name that went: the same package and version,
    built from something else.
    """

    packages: tuple[Change, ...]
    added: tuple[StorePath, ...]
    removed: tuple[StorePath, ...]
    rebuilt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """What is different since the generation ``number`` of a target: packages, and rebuilt paths.

    ``more`` packages changed that are left out.
    """

    number: int
    packages: tuple[Change, ...]
    rebuilt: int
    more: int = 0

    @classmethod
    def of(cls, number: int, found: Changes) -> Since:
        """Tell of the changes since a generation of this number."""
        return cls(number=number, packages=found.packages, rebuilt=found.rebuilt)

    def shortened(self, count: int) -> Since:
        """The same with so many packages."""
        left_out = max(0, len(self.packages) - count)
        return replace(self, packages=self.packages[:count], more=self.more + left_out)

    def line(self, count: int) -> str:
        """All of it on a line, with so many packages; ``prefetch diff`` says more."""
        told = [str(each) for each in self.packages[:count]]
        if others := len(self.packages) - len(told) + self.more:
            told.append(f"and {number_of(others, 'package')} more")
        rebuilt = f"{self.rebuilt:,} rebuilt with the same name"
        return f"since generation {self.number}: {', '.join(told) or 'no other version'}; {rebuilt}"


def changes(before: Iterable[StorePath], after: Iterable[StorePath]) -> Changes:
    """Compare what was with what is; derivations are left out, being how and not what."""
    old = {path for path in before if not path.is_derivation}
    new = {path for path in after if not path.is_derivation}
    added, removed = sorted(new - old), sorted(old - new)
    packages = _changed(_versions_by_name(old), _versions_by_name(new))
    gone = {path.name for path in removed}
    return Changes(
        packages=packages,
        added=tuple(added),
        removed=tuple(removed),
        rebuilt=sum(path.name in gone for path in added),
    )


def as_members(since: Since | None) -> dict[str, Any] | None:
    """What is different since a generation, as documents have it."""
    if since is None:
        return None
    return {
        "since": since.number,
        "packages": packages_as_members(since.packages),
        "rebuilt": since.rebuilt,
        "more": since.more,
    }


def packages_as_members(packages: Iterable[Change]) -> list[dict[str, Any]]:
    """The packages that changed, as documents have them."""
    return [
        {"name": each.name, "before": list(each.before), "after": list(each.after)}
        for each in packages
    ]


def _versions_by_name(paths: Iterable[StorePath]) -> Mapping[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in paths:
        package = PackageName.parse(_ARCHIVE.sub("", path.name))
        found[package.name].add(_OUTPUT.sub("", package.version))
    return found


def _changed(old: Mapping[str, set[str]], new: Mapping[str, set[str]]) -> tuple[Change, ...]:
    return tuple(
        Change(
            name=name,
            before=tuple(sorted(old.get(name, ()), key=by_version)),
            after=tuple(sorted(new.get(name, ()), key=by_version)),
        )
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def _with_versions(name: str, versions: tuple[str, ...]) -> str:
    shown = _versions(versions)
    return f"{name} {shown}" if shown else name


def _versions(versions: tuple[str, ...]) -> str:
    if versions == ("",):
        return ""
    return ", ".join(version or "(no version)" for version in versions)
