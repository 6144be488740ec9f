"""Fixed-output derivations: which kind each is, and where its bytes come from upstream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mirror.formats.hashes import Hash
    from mirror.formats.store_path import StorePath

Method = Literal["download", "unpack", "patch", "git", "builder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """The output is the downloaded file itself (``executable``: with the x bit)."""

    urls: tuple[str, ...]
    executable: bool = False
    method: Method = "download"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreNar:
    """``builtin:fetchurl`` with ``unpack = 1``: the download is a NAR, perhaps compressed."""

    urls: tuple[str, ...]
    method: Method = "unpack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpack:
    """fetchzip and its relatives: an archive whose tree is the output.

    ``strip_root``: the single directory at the archive's top is left out. ``extension`` is what
    the fetcher renames the download to end in, if it does.
    """

    urls: tuple[str, ...]
    strip_root: bool = True
    extension: str | None = None
    method: Method = "unpack"


@dataclass(frozen=True, slots=True)
class HunkRange:
    """Hunks by number, the first is 1; None where there is no first or last one."""

    first: int | None
    last: int | None

    def __contains__(self, number: int) -> bool:
        return (self.first is None or self.first <= number) and (
            self.last is None or number <= self.last
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchOptions:
    """How fetchpatch normalises a patch.

    ``git_headers``: by patchutils 0.4 (fetchpatch2), which keeps git's header lines, instead of
    0.3 (fetchpatch). ``base64`` is decoded first. Only files below ``relative`` are taken. Of their
    names ``strip`` components are left out and the prefixes put before the rest. ``includes`` and
    ``excludes`` are patterns of files to keep or drop, ``hunks`` says which of their hunks are
    kept. ``quotes_names``: a name with quotes or blanks is passed on as it is, which older
    forms did not do.
    """

    git_headers: bool
    base64: bool = False
    relative: str | None = None
    strip: int = 0
    old_prefix: str = ""
    new_prefix: str = ""
    includes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    hunks: tuple[HunkRange, ...] = ()
    revert: bool = False
    quotes_names: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """fetchpatch and fetchpatch2: a patch that is normalised after the download."""

    urls: tuple[str, ...]
    options: PatchOptions
    method: Method = "patch"


@dataclass(frozen=True, slots=True, kw_only=True)
class GitCheckout:
    """fetchgit: the tree of a revision, without its ``.git``.

    ``revision`` is the hash of a commit, a tag or a tree, a reference (``refs/tags/v1``), or a
    tag's name. ``sparse_checkout`` are the directories to check out (all where empty), or patterns
    unless ``sparse_cone``, each as git reads it in a line; ``root_directory`` is what of the tree
    becomes the output.
    """

    url: str
    revision: str
    submodules: bool = False
    sparse_checkout: tuple[str, ...] = ()
    sparse_cone: bool = True
    root_directory: str = ""
    method: Method = "git"

    @property
    def urls(self) -> tuple[str, ...]:
        """The repository, for reports."""
        return (self.url,)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderOnly:
    """Only its own builder can make it; ``reason`` says why, ``urls`` what it reads if known.

    ``attempt`` is a native way that may give the right bytes, since the hash is the judge.
    """

    reason: str
    urls: tuple[str, ...] = ()
    attempt: Download | Unpack | Patch | GitCheckout | None = None
    method: Method = "builder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfetchable:
    """Nothing can fetch it: no hash, or the user must supply it. ``reason`` says what to do."""

    reason: str
    method: Method = "builder"

    @property
    def urls(self) -> tuple[str, ...]:
        """No URLs: there is nowhere to look."""
        return ()


Origin = Download | RestoreNar | Unpack | Patch | GitCheckout | BuilderOnly | Unfetchable


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedOutput:
    """A path whose content is known beforehand, and the ways to get it.

    ``mode`` is ``flat`` (the hash is of the file's bytes) or ``nar`` (of the NAR). Several
    derivations can make one path: ``derivation`` is one that this machine or its target would use,
    ``origin`` joins what all of them say. ``hashed_mirrors_first`` is nixpkgs'
    ``preferHashedMirrors``; ``hashed_mirrors`` are those the derivations' own mirrors list names.
    """

    path: StorePath
    derivation: StorePath
    system: str
    hash: Hash
    mode: Literal["flat", "nar"]
    origin: Origin
    hashed_mirrors: tuple[str, ...] = ()
    hashed_mirrors_first: bool = False

    @property
    def content_address(self) -> str:
        """As narinfo and Nix's database have it: ``fixed:[r:]<algo>:<base32>``."""
        recursive = "r:" if self.mode == "nar" else ""
        return f"fixed:{recursive}{self.hash.nix32}"
