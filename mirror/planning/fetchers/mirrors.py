"""``mirror://SITE/rest``: nixpkgs' names for groups of mirrors.

A fetchurl derivation names its list of mirrors in ``mirrorsFile``: the output of an input
derivation whose *environment* already holds every site as a list of URL prefixes, so nothing has
to be built to expand a URL. The user's ``NIX_MIRRORS_<site>`` and ``NIX_HASHED_MIRRORS`` win, as
they do in nixpkgs' own builder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mirror.planning.fetchers.attributes import Attributes

_SCHEME: Final = "mirror://"
_CRATE: Final = re.compile(r"https://crates\.io/api/v1/crates/([^/]+/[^/]+)/download")
_HASHED_SITE: Final = "hashedMirrors"


@dataclass(frozen=True, slots=True)
class Mirrors:
    """A list of mirrors (None: the derivation names none), and the user's overrides."""

    sites: Attributes | None
    overrides: Mapping[str, str]

    @property
    def hashed(self) -> tuple[str, ...]:
        """The hashed mirrors that the list or the user names."""
        override = self.overrides.get("NIX_HASHED_MIRRORS", "").split()
        if override or self.sites is None:
            return tuple(override)
        return self.sites.words(_HASHED_SITE)

    def expand(self, urls: Iterable[str]) -> tuple[str, ...]:
        """Every URL that ``urls`` stand for, in order, each once; unknown sites are left out."""
        expanded: dict[str, None] = {}
        for url in urls:
            if not url.startswith(_SCHEME):
                expanded[url] = None
                if crate := _CRATE.fullmatch(url):
                    # It asks for that: what is downloaded there is counted, and refused to many.
                    expanded[f"https://static.crates.io/crates/{crate[1]}/download"] = None
                continue
            site, _, rest = url.removeprefix(_SCHEME).partition("/")
            for prefix in self._prefixes(site):
                expanded[prefix + rest] = None
        return tuple(expanded)

    def _prefixes(self, site: str) -> tuple[str, ...]:
        override = self.overrides.get(f"NIX_MIRRORS_{site}", "").split()
        if override or self.sites is None:
            return tuple(override)
        return self.sites.words(site)
