"""The exported forms of a small plan, with names that need quoting."""

from __future__ import annotations

import re

from mirror.formats.derivation import Derivation, Output
from mirror.formats.hashes import Hash
from mirror.formats.path_info import PathInfo
from mirror.formats.store_path import StorePath
from mirror.planning.availability import Availability
from mirror.planning.graph import Graph
from mirror.planning.hermetic import Export, closure_info_lines, dot_lines
from mirror.planning.lists.targets import FlakeInstallable, Level, Target
from mirror.planning.names import candidates
from mirror.planning.plan import TargetPlan, merge
from mirror.planning.presence import Presence

ODD_NAME = 'the "big\\one"\n'


def path(letter: str, name: str) -> StorePath:
    return StorePath.parse(f"/nix/store/{letter * 32}-{name}")


def derivation(
    drv: StorePath,
    outputs: dict[str, StorePath],
    inputs: dict[StorePath, tuple[str, ...]] | None = None,
    sources: tuple[StorePath, ...] = (),
    **environment: str,
) -> Derivation:
    return Derivation(
        path=drv,
        outputs={name: Output(each) for name, each in outputs.items()},
        input_derivations=inputs or {},
        input_sources=sources,
        system="x86_64-linux",
        builder="/bin/sh",
        arguments=(),
        environment=environment,
    )


def there(each: StorePath, *references: StorePath) -> Availability:
    info = PathInfo(path=each, nar_hash=Hash.of(b""), nar_size=1, references=references)
    return Availability(held=info)


SYSTEM, TOOL_DRV = path("a", "system.drv"), path("b", "tool-1.0.drv")
TOOL, TOOL_DEV, LIBRARY = path("c", "tool-1.0"), path("d", "tool-1.0-dev"), path("f", "lib-2")
UNIT, SCRIPT = path("g", "unit?x=1"), path("h", "script.sh")


def exported(wanted: dict[StorePath, Availability]) -> Export:
    graph = Graph(
        {
            SYSTEM: derivation(
                SYSTEM, {"out": path("i", "system")}, {TOOL_DRV: ("dev", "out")}, (UNIT,)
            ),
            TOOL_DRV: derivation(
                TOOL_DRV, {"out": TOOL, "dev": TOOL_DEV}, pname="tool\nkit", version="1.0"
            ),
        }
    )
    target = TargetPlan(
        target=Target(
            name=ODD_NAME, installable=FlakeInstallable(".", "it"), installable_text=".#it"
        ),
        root=SYSTEM,
        level=Level.REBUILD,
        wanted=wanted,
        fetch={},
        evaluated={SYSTEM: (TOOL_DRV, UNIT), TOOL_DRV: (), UNIT: (SCRIPT,), SCRIPT: ()},
        build=frozenset({SYSTEM}),
        unobtainable={},
        kept=frozenset(wanted),
    )
    return Export(merge([target], graph, Presence()), graph, {UNIT: (SCRIPT,), SCRIPT: ()})


ALL = {
    TOOL: there(TOOL, TOOL, LIBRARY),
    TOOL_DEV: there(TOOL_DEV, TOOL),
    LIBRARY: there(LIBRARY),
}


def test_paths_are_closed_and_roots_are_those_that_no_other_refers_to() -> None:
    export = exported(ALL)
    assert export.references == {
        TOOL: (LIBRARY,),
        TOOL_DEV: (TOOL,),
        LIBRARY: (),
        UNIT: (SCRIPT,),
        SCRIPT: (),
    }
    assert export.roots == (TOOL_DEV, UNIT)


STORED = "let stored = path: builtins.appendContext path { ${path}.path = true; }; in"


def test_the_first_line_says_where_to_paste_it_and_comments_stay_on_their_line() -> None:
    first, *more = closure_info_lines(exported(ALL), {})
    assert "closureInfo" in first
    assert more == [
        '# test\'s node: what it takes to rebuild the "big\\one" without a network',
        STORED,
        "[",
        f'  (stored "{TOOL_DEV}") # tool kit',
        f'  (stored "{UNIT}") # a file of its Nix code',
        "]",
    ]


def test_names_come_first_and_it_is_said_what_they_are_of() -> None:
    assert list(closure_info_lines(exported(ALL), {TOOL_DEV: "pkgs.tool.dev"}))[2:] == [
        '# pkgs is the package set of the "big\\one": nixosConfigurations.NAME.pkgs of a flake',
        STORED,
        "[",
        "  pkgs.tool.dev",
        f'  (stored "{UNIT}") # a file of its Nix code',
        "]",
    ]
    both = {TOOL_DEV: "pkgs.tool.dev", UNIT: "pkgs.unit"}
    assert STORED not in list(closure_info_lines(exported(ALL), both))


def test_the_graph_declares_each_path_once_and_tells_build_time_from_run_time() -> None:
    lines = list(dot_lines(exported(ALL)))
    assert lines[0] == "digraph prefetch {"
    assert lines[-1] == "}"
    quoted = r'"(?:[^"\\]|\\.)*"'
    nodes = [
        found[1] for line in lines if (found := re.fullmatch(rf"  ({quoted}) \[label=.*\];", line))
    ]
    assert len(nodes) == len(set(nodes))
    assert set(nodes[1:]) == {f'"{each}"' for each in (SYSTEM, *exported(ALL).references)}
    edges = [
        found.groups()
        for line in lines
        if (found := re.fullmatch(rf"  ({quoted}) -> ({quoted})( \[style=dashed\])?;", line))
    ]
    assert len(nodes) + len(edges) + 3 == len(lines), "nothing else is written"
    assert {each for edge in edges for each in edge[:2]} <= set(nodes)
    assert edges[0] == (nodes[0], f'"{SYSTEM}"', None)
    assert (f'"{SYSTEM}"', f'"{TOOL_DEV}"', None) in edges
    assert (f'"{TOOL_DEV}"', f'"{TOOL}"', " [style=dashed]") in edges


def guesses(name: str, **environment: str) -> set[str]:
    drv, out = path("k", f"{name}.drv"), path("l", name)
    graph = Graph({drv: derivation(drv, {"out": out}, {}, (), **environment)})
    return {".".join(each) for each in candidates(graph, [out])[out].attributes}


def test_guesses_follow_the_habits_of_nixpkgs() -> None:
    assert "gettext" in guesses("gettext-0.21")
    assert "makeShellWrapper" in guesses("make-shell-wrapper-hook")
    assert "linuxHeaders" in guesses("linux-headers-6.5", pname="linux-headers", version="6.5")
    assert {"gcc12", "gcc"} <= guesses("gcc-12.3.0")
    assert {"openssl_3", "openssl_3_0"} <= guesses("openssl-3.0.11")
    assert "gcc" in guesses("gcc-wrapper-12.3.0")
    assert "stdenv" in guesses("stdenv-linux")
    assert "python311Packages.idna" in guesses("python3.11-idna-3.4")
    assert "perlPackages.URI" in guesses("perl5.36.0-URI-5.05")


def test_a_source_is_guessed_from_the_package_that_it_is_the_source_of() -> None:
    archive_drv, archive = path("m", "v1.0.tar.gz.drv"), path("n", "v1.0.tar.gz")
    drv = path("k", "tool-1.0.drv")
    graph = Graph(
        {
            archive_drv: derivation(archive_drv, {"out": archive}),
            drv: derivation(
                drv, {"out": path("l", "tool-1.0")}, {archive_drv: ("out",)}, src=archive
            ),
        }
    )
    assert candidates(graph, [archive])[archive].attributes[0] == ("tool", "src")
    assert path("p", "unknown") not in candidates(graph, [path("p", "unknown")])
