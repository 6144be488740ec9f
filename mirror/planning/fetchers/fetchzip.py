"""nixpkgs' fetchzip, read from its ``postFetch`` shell text.

fetchzip is fetchurl with a standard piece of shell that unpacks the download. The text changed a
little over the years; what it does did not. Lines that none of its versions has are the package's
own, and what they do only a builder knows.
"""

from __future__ import annotations

import re
from typing import Final

_UNPACK: Final = 'unpackFile "$renamed"'
_STRIP: Final = re.compile(r'^\s*mv ("\$unpackDir/\$fn"|\$out/\$fn/\*) ', re.MULTILINE)
_EXTENSION: Final = re.compile(r'^\s*renamed="\$TMPDIR/download\.([^"/]+)"', re.MULTILINE)

_STANDARD: Final = (
    r"export PATH=\S*:\$PATH",
    r'unpackDir="\$TMPDIR/unpack"',
    r'(mkdir|cd) "?\$(unpackDir|out)"?',
    r'renamed="\$TMPDIR/.*"',
    r'mv "\$downloadedFile" "\$renamed"',
    r'unpackFile "\$renamed"',
    r"shopt -s dotglob",
    r'chmod -R (a|u|ug|ugo)?\+w "\$(unpackDir|out)"',
    r'if \[ "?\$\(ls (-A |-d )?"?\$(unpackDir|out)"?(/\*)? \| wc -l\)"? != 1 \]; then',
    r'echo "[^"$>]*"',
    r"exit 1",
    r"fi",
    r'fn=\$\(cd "\$(unpackDir|out)" && (echo \*|ls -A)\)',
    r'if \[ -f "\$unpackDir/\$fn" \]; then',
    r'mv "\$unpackDir(/\$fn)?" "\$out"',
    r'mv \$out/\$fn/\* "\$out/"',
    r'rmdir "\$out/\$fn"',
    r'chmod 755 "?\$out"?',
)
_STANDARD_LINE: Final = re.compile("|".join(_STANDARD))


def unpacks(post_fetch: str) -> bool:
    """Whether the text unpacks the download as fetchzip does."""
    return _UNPACK in post_fetch


def strips_root(post_fetch: str) -> bool:
    """Whether the single entry at the archive's top becomes the output itself."""
    return _STRIP.search(post_fetch) is not None


def extension(post_fetch: str) -> str | None:
    """What the download is renamed to end in, where the package says so."""
    found = _EXTENSION.search(post_fetch)
    return found[1] if found else None


def own_lines(post_fetch: str) -> tuple[str, ...]:
    """The lines that are not part of any version of fetchzip."""
    stripped = (line.strip() for line in post_fetch.splitlines())
    return tuple(
        line
        for line in stripped
        if line and not line.startswith("#") and not _STANDARD_LINE.fullmatch(line)
    )
