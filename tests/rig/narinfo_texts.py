"""Narinfo files in all the ways that one may be written, right and wrong, drawn by Hypothesis."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

from mirror.formats.hashes import Hash
from mirror.formats.signing import SecretKey, fingerprint
from mirror.formats.store_path import StorePath
from rig.cache_answers import COMPRESSORS, Asked
from rig.odd_answers import NEW, OLD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OTHER: Final = StorePath.from_base_name(f"{'1' * 32}-other")
STRANGER: Final = SecretKey("stranger-1", bytes(range(32)))

_UNDETECTED: Final = frozenset({"none", "br"})

Values = list[str]
"""The values of a field, each of which makes a line."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The path that a narinfo is of, how its NAR is compressed, and another path to refer to."""

    asked: Asked
    method: str
    common: StorePath

    @property
    def packed(self) -> bytes:
        return self.asked.packed(self.method)

    @property
    def nar_hash(self) -> Hash:
        return self.asked.info.nar_hash

    @property
    def nar_size(self) -> int:
        return self.asked.info.nar_size

    @property
    def file_hash(self) -> Hash:
        return Hash.of(self.packed)


def _constant(*values: str) -> Callable[[Subject], Values]:
    return lambda _: [*values]


FIELDS: Final[Mapping[str, Mapping[str, Callable[[Subject], Values]]]] = {
    "StorePath": {
        "right": lambda of: [of.asked.path],
        "missing": _constant(),  # Nix crashes at an empty one
        "bare": lambda of: [of.asked.path.base_name],
        "of another": _constant(OTHER),
        "of another first": lambda of: [OTHER, of.asked.path],
        "with a blank": lambda of: [f"{of.asked.path} "],
        "below": lambda of: [f"{of.asked.path}/bin"],
    },
    "URL": {
        "right": lambda of: [f"nar/{of.asked.hash_part}.nar"],
        "missing": _constant(),
        "empty": _constant(""),
        "dotted": lambda of: [f"./nar/../nar/{of.asked.hash_part}.nar"],
        "absolute": lambda of: [of.asked.url(f"nar/{of.asked.hash_part}.nar")],
        "query": lambda of: [f"nar/{of.asked.hash_part}.nar?hash={of.asked.hash_part}&a=%2F"],
        "wrong first": lambda of: ["nar/none.nar", f"nar/{of.asked.hash_part}.nar"],
        "wrong last": lambda of: [f"nar/{of.asked.hash_part}.nar", "nar/none.nar"],
    },
    "Compression": {
        "right": lambda of: [of.method],
        "missing": _constant(),
        "empty": _constant(""),
        "none": _constant("none"),
        "xz": _constant("xz"),
        "unknown": _constant("lzma9"),
        "capital": lambda of: [of.method.upper()],
        "with a blank": lambda of: [f"{of.method} "],
        "unknown first": lambda of: ["lzma9", of.method],
    },
    "FileHash": {
        "missing": _constant(),
        "right": lambda of: [of.file_hash.nix32],
        "base16": lambda of: [f"sha256:{of.file_hash.base16}"],
        "sri": lambda of: [of.file_hash.sri],
        "of the NAR": lambda of: [of.nar_hash.nix32],
        "sha1": lambda of: [Hash.of(of.packed, "sha1").nix32],
        "sha512": lambda of: [Hash.of(of.packed, "sha512").nix32],
        "twice": lambda of: [of.nar_hash.nix32, of.file_hash.nix32],
        "empty": _constant(""),
        "bare": lambda of: [of.file_hash.base32],
        "cut": lambda of: [of.file_hash.nix32[:-1]],
        "null": _constant("null"),
    },
    "FileSize": {
        "missing": _constant(),
        "right": lambda of: [str(len(of.packed))],
        "of the NAR": lambda of: [str(of.nar_size)],
        "zero": _constant("0"),
        "small": _constant("7"),
        "large": _constant(str(10**18)),
        "twice": lambda of: ["0", str(len(of.packed))],
        "zeros": lambda of: [f"000{len(of.packed)}"],
        "signed": lambda of: [f"+{len(of.packed)}"],
        "negative": _constant("-1"),
        "empty": _constant(""),
        "float": lambda of: [f"{len(of.packed)}.0"],
        "with a blank": lambda of: [f"{len(of.packed)} "],
        "too large": _constant(str(1 << 64)),
        "null": _constant("null"),
    },
    "NarHash": {
        "right": lambda of: [of.nar_hash.nix32],
        "base16": lambda of: [f"sha256:{of.nar_hash.base16}"],
        "base64": lambda of: [of.nar_hash.sri.replace("-", ":", 1)],
        "sri": lambda of: [of.nar_hash.sri],
        "capital base16": lambda of: [f"sha256:{of.nar_hash.base16.upper()}"],
        "wrong first": lambda of: [of.file_hash.nix32, of.nar_hash.nix32],
        "wrong": _constant(Hash.of(b"").nix32),
        "sha1": lambda of: [Hash.of(of.asked.nar, "sha1").nix32],
        "bare": lambda of: [of.nar_hash.base32],
        "missing": _constant(),
    },
    "NarSize": {
        "right": lambda of: [str(of.nar_size)],
        "zeros": lambda of: [f"000{of.nar_size}"],
        "signed": lambda of: [f"+{of.nar_size}"],
        "zero first": lambda of: ["0", str(of.nar_size)],
        "zero": _constant("0"),
        "wrong": lambda of: [str(of.nar_size + 8)],
        "missing": _constant(),
        "empty": _constant(""),
        "with a blank": lambda of: [f" {of.nar_size}"],
    },
    "References": {
        "missing": _constant(),
        "empty": _constant(""),
        "empty twice": _constant("", " "),
        "itself": lambda of: [of.asked.path.base_name],
        "both": lambda of: [f"{of.common.base_name} {of.asked.path.base_name}"],
        "twice the same": lambda of: [f"{of.common.base_name} {of.common.base_name}"],
        "with blanks": lambda of: [f"  {of.common.base_name}   {of.asked.path.base_name} "],
        "in two lines": lambda of: [of.common.base_name, of.asked.path.base_name],
        "full": lambda of: [of.common],
        "with a tab": lambda of: [f"{of.common.base_name}\t{of.asked.path.base_name}"],
        "unknown": _constant("unknown"),
        "to what is not there": _constant(OTHER.base_name),
        "not signed": lambda of: [of.common.base_name],
    },
    "Deriver": {
        "missing": _constant(),
        "right": lambda of: [f"{of.asked.path.base_name}.drv"],
        "unknown": _constant("unknown-deriver"),
        "no derivation": _constant(OTHER.base_name),
        "empty": _constant(""),
        "full": lambda of: [f"{of.asked.path}.drv"],
        "null": _constant("null"),
    },
    "System": {"missing": _constant(), "right": _constant("x86_64-linux"), "empty": _constant("")},
    "CA": {
        "missing": _constant(),
        "empty": _constant(""),
        "empty twice": _constant("", ""),
        "unknown": _constant("unknown"),
        "bare": lambda of: [of.nar_hash.nix32],
        "of the NAR": lambda of: [f"fixed:r:{of.nar_hash.nix32}"],
        "of something else": _constant(f"fixed:r:{Hash.of(b'').nix32}"),
    },
    "Sig": {
        "right": lambda of: [of.asked.signature],
        "twice": lambda of: [of.asked.signature] * 2,
        "missing": _constant(),
        "by a stranger": lambda of: [STRANGER.sign(fingerprint(of.asked.info))],
        "by both": lambda of: [STRANGER.sign(fingerprint(of.asked.info)), of.asked.signature],
        "of another kind": lambda of: [
            f"other-1:{base64.b64encode(b'x' * 96).decode()}",
            of.asked.signature,
        ],
        "wrong": lambda of: [of.asked.signature[:-9] + "AAAAAAA=="],
        "wrong and right": lambda of: [of.asked.signature[:-9] + "AAAAAAA==", of.asked.signature],
        "empty": lambda of: ["", of.asked.signature],
        "malformed": lambda of: ["other-1:!!!", of.asked.signature],
    },
}
MANNERS: Final[Mapping[str, Callable[[list[str]], str]]] = {
    "plain": lambda lines: "".join(f"{line}\n" for line in lines),
    "any order": lambda lines: "".join(
        f"{line}\n" for line in Random(len(lines)).sample(lines, len(lines))
    ),
    "CRLF": lambda lines: "".join(f"{line}\r\n" for line in lines),
    "no end": "\n".join,
    "an empty line at the end": lambda lines: "".join(f"{line}\n" for line in [*lines, ""]),
    "an empty line within": lambda lines: "".join(
        f"{line}\n" for line in [*lines[:3], "", *lines[3:]]
    ),
    "a comment": lambda lines: "".join(f"{line}\n" for line in ["# a comment", "X: y", *lines]),
    "a comment before a field": lambda lines: "".join(f"{line}\n" for line in ["# text", *lines]),
    "no spaces": lambda lines: "".join(f"{line.replace(': ', ':', 1)}\n" for line in lines),
    "tabs": lambda lines: "".join(line.replace(": ", ":\t", 1) + "\n" for line in lines),
    "two spaces": lambda lines: "".join(line.replace(": ", ":  ", 1) + "\n" for line in lines),
    "blanks at the end": lambda lines: "".join(f"{line} \n" for line in lines),
    "trimmed": lambda lines: "".join(f"{line.rstrip()}\n" for line in lines),
    "small letters": lambda lines: "".join(f"{line[0].lower()}{line[1:]}\n" for line in lines),
    "unknown fields": lambda lines: "".join(
        f"{line}\n"
        for line in ["News: 1", *lines, "URLs: x", "X: \udcff\0", f"Long: {'x' * 99_999}"]
    ),
    "a page": lambda lines: f"<html>\n<a href='http://x'>{lines[0]}</a>\n",
}


@dataclass(frozen=True, slots=True)
class Writing:
    """How a narinfo is written: the way of each field by its name, the compression, the manner."""

    method: str
    fields: Mapping[str, str]
    manner: str

    @property
    def is_detected(self) -> bool:
        """Whether an old Nix looks itself how the file is compressed, and takes what it finds."""
        return self.method not in _UNDETECTED and self.fields["Compression"] != "none"

    @property
    def crashes(self) -> frozenset[str]:
        """The versions of Nix that crash at it: an address that lies, an unknown compression."""
        if self.fields["CA"] in {"of the NAR", "of something else"}:
            return frozenset({OLD, NEW})
        is_unknown = self.fields["Compression"] in {"unknown", "capital", "with a blank"}
        return frozenset({NEW} if is_unknown else ())

    @property
    def has_malformed_signature(self) -> bool:
        """Whether a signature is malformed, beside a good one: the newest Nix refuses it all."""
        return self.fields["Sig"] in {"empty", "malformed"}

    @property
    def has_location_at_rest(self) -> bool:
        """Whether it names the NAR's file, as it has to in a directory."""
        return self.fields["URL"] == "right"

    def refers_to(self, path: StorePath, common: StorePath) -> tuple[StorePath, ...]:
        """What the path refers to, which is signed with it."""
        match self.fields["References"]:
            case "itself":
                return (path,)
            case "both" | "with blanks":
                return (common, path)
            case "twice the same":
                return (common,)
            case _:
                return ()

    def text(self, subject: Subject) -> bytes:
        lines = [
            f"{name}: {value}"
            for name, ways in FIELDS.items()
            for value in ways[self.fields[name]](subject)
        ]
        return MANNERS[self.manner](lines).encode(errors="surrogateescape")


_OFTEN: Final = {
    "References": ("missing", "empty", "itself", "both"),
    "FileHash": ("missing", "right", "of the NAR"),
    "FileSize": ("missing", "right", "of the NAR", "zero"),
    "Deriver": ("missing", "right", "unknown"),
}


@st.composite
def writings(draw: st.DrawFn) -> Writing:
    """A narinfo with at most two fields that are written in an unusual way, or so as a whole."""
    fields = {
        name: draw(st.sampled_from(_OFTEN.get(name, tuple(ways)[:1])))
        for name, ways in FIELDS.items()
    }
    for name in draw(st.lists(st.sampled_from(tuple(FIELDS)), max_size=2)):
        fields[name] = draw(st.sampled_from(tuple(FIELDS[name])))
    manner = draw(st.sampled_from(("plain",) * len(MANNERS) + tuple(MANNERS)))
    return Writing(draw(st.sampled_from(tuple(COMPRESSORS))), fields, manner)
