"""What a cache directory is made of: the names of its files, and which of them a narinfo may name.

::

    nix-cache-info
    <hash part>.narinfo                 what the cache holds
    nar/<file hash>.nar[.<ext>]         the NARs, as upstream compressed them
    generations/<target>/<number>.json  manifests
    receipts/<target>.json              what rehearsals came to
    runs/<target>.json                  what the last syncs came to
    public-keys                         the keys that signed here, the newest last
    .prefetch/checksums                 what narinfos and the like were: :mod:`.checksums`
    .prefetch/contents                  which NARs were read, and had what: :mod:`.looking.contents`
    .prefetch/lock, .prefetch/staging/  one run's; what a killed run left there is removed
    .prefetch/serving                   locked, shared, by each server of the directory
    .prefetch/served                    changed when a server was last seen: :mod:`.served`
    .prefetch/retired/                  narinfos on their way out: :mod:`.sweep`
    .prefetch/damaged/                  what could not be repaired: :mod:`.at_rest.quarantine`

All names are relative to the cache directory.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mirror.errors import FormatError
from mirror.formats import cache_info

if TYPE_CHECKING:
    from mirror.formats.narinfo import NarInfo
    from mirror.formats.store_path import StorePath

CACHE_INFO: Final = cache_info.FILE_NAME
PUBLIC_KEYS: Final = "public-keys"
"""The file of the mirror's own keys."""

NARS: Final = "nar"
GENERATIONS: Final = "generations"
RECEIPTS: Final = "receipts"
RUNS: Final = "runs"

HIDDEN: Final = ".prefetch"
"""The directory of what is not for the cache's readers."""
LOCK: Final = f"{HIDDEN}/lock"
"""What a run that writes locks, and says in who it is."""
STAGING: Final = f"{HIDDEN}/staging"
CHECKSUMS: Final = f"{HIDDEN}/checksums"
CONTENTS: Final = f"{HIDDEN}/contents"
SERVING: Final = f"{HIDDEN}/serving"
"""What every server of the directory locks (``flock``, shared) for as long as it runs."""
SERVED: Final = f"{HIDDEN}/served"
"""An empty file, changed when a server was last seen; missing where none ever was."""
RETIRED: Final = f"{HIDDEN}/retired"
"""Where narinfos are that only a server still answers."""
DAMAGED: Final = f"{HIDDEN}/damaged"
"""Where files are that could not be mended, and that readers are better off without."""

NARINFO_SUFFIX: Final = ".narinfo"
_NARINFO: Final = rf"[0-9abcdfghijklmnpqrsvwxyz]{{32}}{re.escape(NARINFO_SUFFIX)}"
NARINFO: Final = re.compile(_NARINFO)
"""The names of narinfo files."""
RECORDED: Final = re.compile(f"{_NARINFO}|{CACHE_INFO}|{PUBLIC_KEYS}")
"""The names of the files of which there are checksums, in the directory itself."""
NAR: Final = re.compile(r"[0-9abcdfghijklmnpqrsvwxyz]{52}\.nar(\.(xz|zst|bz2|gz|br))?")
"""The names of NARs, in :data:`NARS`, as they are given here."""
TEMPORARY: Final = re.compile(r"tmp[a-z0-9_]{8}")
"""The names of documents that are being written."""


def narinfo_name(path: StorePath) -> str:
    """The name of a path's narinfo."""
    return f"{path.hash_part}{NARINFO_SUFFIX}"


def nar_name(url: str) -> str | None:
    """The name in :data:`NARS` of the file that a narinfo's ``URL`` names; None if it is elsewhere.

    A narinfo may have been altered: no file elsewhere is touched because of what it says.
    """
    directory, _, name = url.rpartition("/")
    return name if directory == NARS and name.strip(".") else None


def nar_file(narinfo: NarInfo) -> str:
    """The file of a narinfo's NAR, relative to the cache directory.

    Raises:
        FormatError: it is not in :data:`NARS`.

    """
    if nar_name(narinfo.url) is None:
        raise FormatError(f"its URL is {narinfo.url!r}, which is not in {NARS}/")
    return narinfo.url
