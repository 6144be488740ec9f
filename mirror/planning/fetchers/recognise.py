"""Recognising fixed-output derivations: which fetcher made one, and where it looks.

The output's hash comes from the output field of the derivation, which is canonical (the attribute
``outputHash`` is whatever the package's author wrote). The rest is read from what nixpkgs' fetchers
leave in the environment. To be wrong here is safe: what a native fetch gives is accepted on its
hash alone.
"""

from __future__ import annotations

import re
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, cast

from mirror.errors import FormatError
from mirror.formats.hashes import Hash
from mirror.planning.fetchers import fetchpatch, fetchzip
from mirror.planning.fetchers.attributes import Attributes
from mirror.planning.fetchers.fixed_outputs import (
    BuilderOnly,
    Download,
    FixedOutput,
    GitCheckout,
    Origin,
    Patch,
    RestoreNar,
    Unfetchable,
    Unpack,
)
from mirror.planning.fetchers.mirrors import Mirrors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mirror.formats.derivation import Derivation
    from mirror.formats.store_path import StorePath

    Lookup = Callable[[StorePath], Derivation | None]

_NO_OVERRIDES: Final[Mapping[str, str]] = MappingProxyType({})
_MODES: Final[Mapping[str, Literal["flat", "nar"]]] = MappingProxyType({"": "flat", "r:": "nar"})
_REQUIRE_FILE: Final = "restrict-message"
_HERE_DOCUMENT: Final = re.compile(r"<<\s*(\w+)\n(.*?)\n\1$", re.DOTALL | re.MULTILINE)
_NEEDS_CREDENTIALS: Final = "it needs credentials: put them into the netrc file"
_PATCH_TOOLS: Final = ("lsdiff", "filterdiff")


def fixed_output(
    derivation: Derivation,
    lookup: Lookup,
    *,
    overrides: Mapping[str, str] = _NO_OVERRIDES,
) -> FixedOutput:
    """What ``derivation``, which is a fixed-output one, makes, and how to get it.

    ``lookup`` gives an input derivation, or None where it is not known. ``overrides`` are the
    user's environment variables, of which ``NIX_MIRRORS_<site>`` and ``NIX_HASHED_MIRRORS`` count.

    Raises:
        FormatError: it has no fixed output, or one of a form that is not known.

    """
    output = next((o for o in derivation.outputs.values() if o.is_fixed), None)
    if output is None or output.path is None:
        raise FormatError(f"{derivation.path} is not a fixed-output derivation")
    prefix, colon, algorithm = output.hash_algorithm.rpartition(":")
    mode = _MODES.get(prefix + colon)
    if mode is None:
        raise FormatError(f"{derivation.path}: unknown output hash {output.hash_algorithm!r}")
    expected = Hash.parse(output.hash, algorithm)
    attributes = Attributes.of(derivation)
    mirrors = Mirrors(_mirrors_list(derivation, attributes, lookup), overrides)
    if expected.is_zero:
        origin: Origin = Unfetchable(
            reason="its hash is not known: `outputHash` is empty or all zeros; "
            "build it once and put the hash that Nix reports into the package"
        )
    else:
        origin = _origin(derivation, output.path, attributes, mirrors, lookup)
    if not expected.is_computable and not isinstance(origin, Unfetchable | BuilderOnly):
        origin = BuilderOnly(
            reason=f"only Nix computes hashes of algorithm {expected.algorithm}", urls=origin.urls
        )
    return FixedOutput(
        path=output.path,
        derivation=derivation.path,
        system=derivation.system,
        hash=expected,
        mode=mode,
        origin=origin,
        hashed_mirrors=mirrors.hashed if "mirrorsFile" in attributes else (),
        hashed_mirrors_first=attributes.flag("preferHashedMirrors"),
    )


def join(outputs: Iterable[FixedOutput], *, system: str | None = None) -> FixedOutput:
    """One output for several derivations that make the same path.

    The way that needs least wins (native, then tried natively, then built), with the URLs of all
    that go the same way. The derivation is one for ``system`` if there is one.

    Raises:
        ValueError: there are no outputs, or they are not of one path.

    """
    several = list(outputs)
    if not several or len({output.path for output in several}) != 1:
        raise ValueError("only outputs of one path can be joined")
    # `sorted` and `min` keep the order of equals, so the first one said wins.
    ordered = sorted(several, key=lambda output: _rank(output.origin))
    chosen = min(ordered, key=lambda output: output.system != system)
    origin = ordered[0].origin
    for other in ordered[1:]:
        origin = _united(origin, other.origin)
    return replace(
        chosen,
        origin=origin,
        hashed_mirrors=_each_once(m for output in several for m in output.hashed_mirrors),
        hashed_mirrors_first=any(output.hashed_mirrors_first for output in several),
    )


def _origin(
    derivation: Derivation,
    path: StorePath,
    attributes: Attributes,
    mirrors: Mirrors,
    lookup: Lookup,
) -> Origin:
    """Recognise the fetcher; the most reliable tests come first."""
    if derivation.builder == "builtin:fetchurl":
        return _builtin(attributes)
    if "mirrorsFile" in attributes:
        return _fetchurl(attributes, mirrors)
    if "fetcher" in attributes and ("leaveDotGit" in attributes or "deepClone" in attributes):
        return _fetchgit(attributes)
    if any(_REQUIRE_FILE in word for word in (derivation.builder, *derivation.arguments)):
        return Unfetchable(reason=_required_file(derivation, path, lookup))
    if path.name.endswith("-vendor-staging"):
        reason = "its Cargo dependencies are vendored by its own builder"
    elif "GOPROXY" in attributes.words("impureEnvVars"):
        reason = "its Go modules are collected by its own builder"
    else:
        reason = "no fetcher is recognised in it"
    return BuilderOnly(reason=reason, urls=attributes.words("urls"))


def _builtin(attributes: Attributes) -> Origin:
    urls = _each_once((*attributes.words("url"), *attributes.words("urls")))
    if attributes.flag("unpack"):
        return RestoreNar(urls=urls)
    return Download(urls=urls, executable=attributes.flag("executable"))


def _fetchurl(attributes: Attributes, mirrors: Mirrors) -> Origin:
    named = attributes.words("urls") or attributes.words("url")
    urls = mirrors.expand(named)
    plain = Download(urls=urls, executable=attributes.flag("executable"))
    changes = attributes.text("postFetch").strip() != ""
    if attributes.flag("showURLs"):
        return BuilderOnly(reason="it lists its URLs instead of downloading them", urls=urls)
    if not urls:
        reason = f"no mirror is known for {' '.join(named)}" if named else "it names no URL"
        return BuilderOnly(reason=reason, urls=named)
    if attributes.text("netrcPhase").strip() or attributes.text("postHook").strip():
        usual = _patch(urls, attributes) or _unpacked(urls, attributes.text("postFetch"))
        return BuilderOnly(
            reason=_NEEDS_CREDENTIALS, urls=urls, attempt=usual if changes else plain
        )
    return _changed(attributes, plain) if changes else plain


def _changed(attributes: Attributes, plain: Download) -> Origin:
    """What a fetchurl with its own shell code does with the download."""
    urls, post_fetch = plain.urls, attributes.text("postFetch")
    patch = _patch(urls, attributes)
    if patch is not None:
        return patch
    unpack = _unpacked(urls, post_fetch)
    if unpack is not None:
        own_lines = fetchzip.own_lines(post_fetch)
        if not own_lines:
            return unpack
        return BuilderOnly(
            reason=f"it changes what it unpacks ({own_lines[0]})", urls=urls, attempt=unpack
        )
    if any(tool in post_fetch for tool in _PATCH_TOOLS):
        return BuilderOnly(
            reason="it normalises a patch in a way of its own", urls=urls, attempt=plain
        )
    return BuilderOnly(reason="it changes what it downloads", urls=urls)


def _patch(urls: tuple[str, ...], attributes: Attributes) -> Patch | None:
    inputs = attributes.words("nativeBuildInputs")
    options = fetchpatch.options(attributes.text("postFetch"), inputs)
    return None if options is None else Patch(urls=urls, options=options)


def _unpacked(urls: tuple[str, ...], post_fetch: str) -> Unpack | None:
    if not fetchzip.unpacks(post_fetch):
        return None
    return Unpack(
        urls=urls,
        strip_root=fetchzip.strips_root(post_fetch),
        extension=fetchzip.extension(post_fetch),
    )


def _fetchgit(attributes: Attributes) -> Origin:
    plain = GitCheckout(
        url=attributes.text("url"),
        revision=attributes.text("rev") or "HEAD",
        submodules=attributes.flag("fetchSubmodules"),
        sparse_checkout=attributes.lines("sparseCheckout"),
        sparse_cone=not attributes.flag("nonConeMode"),
        root_directory=attributes.text("rootDir").strip("/"),
    )
    for attribute, reason in (
        ("leaveDotGit", "it keeps the .git directory"),
        ("fetchLFS", "it fetches large files by git-lfs"),
        ("postFetch", "it changes what it checks out"),
        ("preFetch", "it prepares what it checks out"),
        ("postCheckout", "it changes what it checks out"),
    ):
        if attributes.flag(attribute):
            return BuilderOnly(reason=reason, urls=plain.urls)
    if attributes.text("netrcPhase").strip() or attributes.text("postHook").strip():
        return BuilderOnly(reason=_NEEDS_CREDENTIALS, urls=plain.urls, attempt=plain)
    if attributes.flag("gitConfigFile"):
        return BuilderOnly(reason="it has git settings of its own", urls=plain.urls, attempt=plain)
    return plain


def _required_file(derivation: Derivation, path: StorePath, lookup: Lookup) -> str:
    """The message that requireFile's script would print, white space joined."""
    for candidate in derivation.input_derivations:
        script = lookup(candidate) if _REQUIRE_FILE in candidate.name else None
        found = script and _HERE_DOCUMENT.search(script.environment.get("text", ""))
        if found:
            return " ".join(found[2].split())
    return f"{path.name} must be added to the Nix store by hand (nix-store --add-fixed)"


def _mirrors_list(
    derivation: Derivation, attributes: Attributes, lookup: Lookup
) -> Attributes | None:
    """The attributes of the input derivation whose output is ``mirrorsFile``."""
    wanted = attributes.text("mirrorsFile")
    if not wanted:
        return None
    # Its name follows from the output's, so that not every input has to be read.
    for candidate in derivation.input_derivations:
        if not candidate.name.startswith(wanted[wanted.find("-") + 1 :]):
            continue
        found = lookup(candidate)
        if found is not None and any(output.path == wanted for output in found.outputs.values()):
            return Attributes.of(found)
    return None


def _rank(origin: Origin) -> int:
    match origin:
        case Unfetchable():
            return 3
        case BuilderOnly(attempt=None):
            return 2
        case BuilderOnly():
            return 1
        case _:
            return 0


def _united(first: Origin, second: Origin) -> Origin:
    """``first`` with the URLs of ``second`` too, if they differ in nothing else."""
    urls = _each_once(first.urls + second.urls)
    match first, second:
        case (
            (Download(), Download())
            | (Unpack(), Unpack())
            | (RestoreNar(), RestoreNar())
            | (Patch(), Patch())
        ):
            # mypy does not narrow the elements of a tuple by an or-pattern.
            both = replace(cast("Download", first), urls=urls)
            return both if both == replace(cast("Download", second), urls=urls) else first
        case BuilderOnly(), BuilderOnly():
            attempt = first.attempt
            if attempt is not None and second.attempt is not None:
                # Two of the same kind unite into that kind, so the type is kept.
                attempt = cast(
                    "Download | Unpack | Patch | GitCheckout", _united(attempt, second.attempt)
                )
            return replace(first, attempt=attempt, urls=urls)
    return first


def _each_once(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
