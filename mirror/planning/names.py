"""Guesses of the attribute of the package that makes a path, to be verified by evaluation.

A derivation knows its package's name, not the attribute that leads to it. In Nixpkgs the two are
often alike, and mostly differ by the habits that are followed here: ``linux-headers`` is
``linuxHeaders``, ``make-shell-wrapper-hook`` is ``makeShellWrapper``, ``python3.11-idna-3.4`` is
``python311Packages.idna``, ``gcc-12.3.0`` may be ``gcc12``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.formats.store_path import StorePath, is_store_path
from mirror.planning.fetchers.attributes import Attributes
from mirror.planning.graph import package_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mirror.formats.derivation import Derivation
    from mirror.planning.graph import Graph

AttributePath = tuple[str, ...]

_VERSION: Final = re.compile(r"-(\d+)(?:\.(\d+))?[^-]*$")
_LANGUAGE: Final = re.compile(r"(python|perl|ruby|lua)(\d+)(?:\.(\d+))?[\d.]*-(.+)")
_AFFIXES: Final = ("-hook", "-wrapper", "-wrapped", "-linux")
_WORD_START: Final = re.compile(r"[-_]([A-Za-z0-9])")


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a path may be called: ``attributes`` of a package set, likely ones first.

    The path is the ``output`` of one of them.
    """

    attributes: tuple[AttributePath, ...]
    output: str


def candidates(graph: Graph, paths: Iterable[StorePath]) -> Mapping[StorePath, Candidates]:
    """Guess names for those of ``paths`` that a derivation of the graph makes."""
    paths = set(paths)
    sources: dict[StorePath, list[AttributePath]] = {}
    for derivation in graph.derivations.values():
        source = Attributes.of(derivation).text("src")
        if is_store_path(source) and source in paths:
            of_package = [(*each, "src") for each in _attributes(derivation)]
            sources.setdefault(StorePath.parse(source), []).extend(of_package)
    found = {}
    for path in sorted(paths):
        makers = graph.makers.get(path)
        if makers:
            derivation = graph[makers[0]]
            output = next(name for name, each in derivation.outputs.items() if each.path == path)
            attributes = [*sources.get(path, ()), *_attributes(derivation)]
            found[path] = Candidates(tuple(dict.fromkeys(attributes)), output)
    return found


def _attributes(derivation: Derivation) -> Iterator[AttributePath]:
    """The names that a derivation's package may have, with repetitions."""
    name = derivation.path.name.removesuffix(".drv")
    package = package_name(derivation)
    version = _VERSION.search(f"-{Attributes.of(derivation).text('version')}")
    version = version or _VERSION.search(name)
    yield from _spellings(package)
    if version is not None:
        major, minor = version.groups()
        for numbers in ([major], [major, minor] if minor else []):
            yield (f"{package}{''.join(numbers)}",)
            yield (f"{package}_{'_'.join(numbers)}",)
    for affix in _AFFIXES:
        if package.endswith(affix):
            yield from _spellings(package.removesuffix(affix))
    yield (f"{package}-unwrapped",)
    yield (name,)
    if language := _LANGUAGE.fullmatch(name):
        kind, major, minor, rest = language.groups()
        module = _VERSION.sub("", rest)
        for packages in (f"{kind}{major}{minor or ''}Packages", f"{kind}Packages"):
            for spelling in (module, module.replace("-", ""), module.replace("_", "-")):
                yield packages, spelling


def _spellings(name: str) -> Iterator[AttributePath]:
    yield (name,)
    yield (name.replace("-", "_"),)
    yield (name.replace("_", "-"),)
    yield (_WORD_START.sub(lambda found: found[1].upper(), name),)
    yield (name.lower(),)
