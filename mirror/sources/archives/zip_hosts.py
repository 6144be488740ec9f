"""What unzip makes of an entry's name and attributes, which depend on the system that made it.

Info-ZIP's unzip 6.0 is the authority, in a locale of UTF-8, as nixpkgs runs it. Names are bytes:
what a system of DOS wrote in its code page becomes ISO 8859-1, although that is no UTF-8.
"""

from __future__ import annotations

import re
import stat
import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mirror.sources.archives.zip_directory import Listed

DOS: Final = 0
_AMIGA, _VMS, _UNIX, _ATARI, _OS2, _NT, _QDOS, _ACORN, _BEOS, _TANDEM, _THEOS, _ATHEOS = (
    *(1, 2, 3, 5, 6, 11, 12, 13, 16, 17, 18, 30),
)
_WITH_MODES: Final = frozenset(
    {_UNIX, _VMS, _ACORN, _ATARI, _ATHEOS, _BEOS, _QDOS, _TANDEM, _THEOS}
)
_WITH_LINKS: Final = frozenset({_UNIX, _ATARI, _ATHEOS, _BEOS, _VMS})
_WITH_LABELS: Final = frozenset({DOS, _OS2, _NT, _ATARI})
_ANSI_VERSIONS: Final = frozenset({25, 26, 40})
"""Of PKZIP, whose names are no DOS names although it says so, if there is a mode."""
_WINZIP: Final = 50

_UTF8: Final = 0x800
_UNICODE_PATH: Final = 0x7075
_ASI_UNIX: Final = 0x756E
_LEAST_OF_ASI: Final = 6
_VMS_FIELD: Final = 0x000C
_READ_ONLY, _VOLUME_LABEL, _SUBDIRECTORY = 0x01, 0x08, 0x10

_LOOKS_LIKE: Final = str.maketrans(
    "░▒▓│┤╣║╠█■╗╝┐└├┼╚╔╬┘┌┴┬─╩╦═\N{LATIN SMALL LETTER DOTLESS I}▄▀‗ƒ",
    "¦¦¦¦¦¦¦¦¦¦+++++++++++------i_¯=\x83",
)
"""What a code page has and ISO 8859-1 has not, as Windows translates it."""
_FROM_CODE_PAGE: Final = bytes(range(256)).decode("cp850").translate(_LOOKS_LIKE).encode("latin-1")
_DROPPED: Final = bytes([*range(1, 0x20), 0x7F, 0xFF])
_VERSION: Final = re.compile(rb";[0-9]*\Z")
_DOT: Final = re.compile(rb"(^|/)\.\Z")


def file_name(listed: Listed) -> bytes:
    """The name as a path; a directory's ends in a slash."""
    name = _in_locale(listed)
    if listed.host == DOS and b"/" not in name:
        name = name.replace(b"\\", b"/")
    name = name.translate(None, _DROPPED)
    # VMS has versions, and a file cannot be called as the directory that it is in.
    return _DOT.sub(rb"\1_", _VERSION.sub(b"", name))


def is_volume_label(listed: Listed) -> bool:
    """Whether it names a disk, not a file."""
    return listed.host in _WITH_LABELS and bool(listed.attributes & _VOLUME_LABEL)


def mode(listed: Listed) -> int:
    """The mode as on Unix, of which the owner's x bit counts, and whether it is a link's."""
    high = listed.attributes >> 16
    if listed.host == _AMIGA:
        return (listed.attributes >> 17 & 0o7) << 6
    if listed.host == _THEOS:
        high &= 0x41FF if stat.S_IFMT(high & 0xF1FF) == stat.S_IFDIR else 0x01FF
    if listed.host in _WITH_MODES:
        found = high or _mode_in_extra_data(listed)
        if found is not None:
            return found if listed.host in _WITH_LINKS else stat.S_IMODE(found)
    # Systems of DOS have but few attributes; PKZIP for Unix says that it is one of them.
    writable, directory = not listed.attributes & _READ_ONLY, listed.attributes & _SUBDIRECTORY
    owner = 0o400 | (0o200 if writable else 0) | (0o100 if directory else 0)
    return high if listed.host == DOS and high & 0o700 == owner else owner


def _in_locale(listed: Listed) -> bytes:
    """The name in UTF-8 where the archive has it so, else as the system's code page says."""
    if listed.flags & _UTF8 and listed.extra:
        return listed.name
    if not listed.flags & _UTF8:
        path = _unicode_path(listed)
        if path is not None:
            return path or listed.name
    has_mode = bool(listed.attributes >> 16)
    if (
        (listed.host == DOS and not (has_mode and listed.host_version in _ANSI_VERSIONS))
        or listed.host == _OS2
        or (listed.host == _NT and listed.host_version == _WINZIP)
    ):
        return listed.name.translate(_FROM_CODE_PAGE)
    return listed.name


def _unicode_path(listed: Listed) -> bytes | None:
    """The path that an extra field has; empty if it says that the name is UTF-8 already."""
    path = None
    checksum = zlib.crc32(listed.name).to_bytes(4, "little")
    for kind, data in listed.extra_fields():
        if kind == _UNICODE_PATH:
            if data[:1] > b"\1" or data[1:5] != checksum:
                # The entry was renamed by a program that does not know the field.
                break
            path = data[5:]
    return path


def _mode_in_extra_data(listed: Listed) -> int | None:
    """The mode where the attributes have none; None if only DOS attributes are there to go by."""
    for kind, data in listed.extra_fields():
        if kind == _ASI_UNIX and len(data) >= _LEAST_OF_ASI:
            return int.from_bytes(data[4:6], "little")
        if kind in {_ASI_UNIX, _VMS_FIELD}:
            return None
    return 0
