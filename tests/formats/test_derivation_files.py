from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig.scratch_nix import NEEDS_NIX, ScratchNix

from mirror.errors import FormatError
from mirror.formats.aterm import parse_derivation, print_derivation
from mirror.formats.derivation import Derivation, Output
from mirror.formats.derivation_files import DerivationFiles
from mirror.formats.derivation_paths import OutputPaths, derivation_path
from mirror.formats.store_path import StorePath

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SOME = StorePath.parse(f"/nix/store/{'0' * 32}-some.drv")

EXPRESSION = rb"""
let
  base = { system = "x86_64-linux"; builder = "/bin/sh"; };
  make = name: more: derivation (base // { inherit name; } // more);
  fixed = name: algorithm: hash: mode: make name {
    outputHash = hash; outputHashAlgo = algorithm; outputHashMode = mode;
    urls = [ "https://example.org/${name}" ];
  };
  zeros = n: builtins.concatStringsSep "" (builtins.genList (_: "a1") n);
  text = builtins.toFile "plain.txt" "text";
  referring = builtins.toFile "referring.txt" "see ${text}";
  sources = [
    (fixed "flat.tar.gz" "sha256" (zeros 32) "flat")
    (fixed "tree" "sha256" (zeros 32) "recursive")
    (fixed "one" "sha1" (zeros 20) "flat")
    (fixed "five" "md5" (zeros 16) "recursive")
    (fixed "long" "sha512" (zeros 64) "flat")
    (fixed "long-tree" "sha512" (zeros 64) "recursive")
  ];
  multiple = make "multiple-1.0" { outputs = [ "out" "dev" "man" ]; inherit sources; };
  # Two derivations that mean the same: they differ in how a fixed output is fetched.
  mirrored = name: make "same" { src = make "source" {
    outputHash = zeros 32; outputHashAlgo = "sha256"; url = name; }; };
  structured = make "structured" {
    __structuredAttrs = true; outputs = [ "lib" "out" ];
    nested = { list = [ 1 2.5 null true "x\"y\\" ]; input = multiple.dev; };
  };
  strange = make "strange" {
    raw = "a\tb\nc\rd\"e\\f ${"$"}{g} ,([\"x\"],("; control = "@CONTROL@"; bytes = "@BYTES@";
    args = [ "-c" "" "\\n" referring ]; empty = ""; unicode = "@UNICODE@";
  };
  chain = n: if n == 0 then strange else make "link-${toString n}" { input = chain (n - 1); };
in make "top" {
  all = [ multiple.man multiple structured.lib strange text (chain 20) ];
  same = [ (mirrored "a") (mirrored "b") ];
}
"""
EXPRESSION = EXPRESSION.replace(b"@CONTROL@", b"\x01\x02\x7f\x1b")
EXPRESSION = EXPRESSION.replace(b"@BYTES@", b"\xff\xfe\x80").replace(b"@UNICODE@", "ä →".encode())


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> dict[StorePath, bytes]:
    nix = ScratchNix(tmp_path_factory.mktemp("evaluated"))
    nix.instantiate(EXPRESSION)
    return read_derivations(nix.store)


def read_derivations(store: Path) -> dict[StorePath, bytes]:
    return {StorePath.from_base_name(file.name): file.read_bytes() for file in store.glob("*.drv")}


@NEEDS_NIX
def test_what_nix_writes_is_printed_again_byte_for_byte(
    evaluated: dict[StorePath, bytes],
) -> None:
    assert len(evaluated) > 30
    for path, data in evaluated.items():
        assert print_derivation(parse_derivation(path, data)) == data


@NEEDS_NIX
def test_many_files_read_as_each_does_alone(evaluated: dict[StorePath, bytes]) -> None:
    files = DerivationFiles()
    for path, data in evaluated.items():
        derivation = files.read(path, data)
        assert derivation == parse_derivation(path, data)
        assert print_derivation(derivation) == data


@NEEDS_NIX
def test_derivations_and_outputs_recompute_to_the_paths_that_nix_gave_them(
    evaluated: dict[StorePath, bytes],
) -> None:
    derivations = {path: parse_derivation(path, data) for path, data in evaluated.items()}
    output_paths = OutputPaths(derivations.__getitem__)
    for path, derivation in derivations.items():
        assert derivation_path(derivation) == path
        expected = {name: output.path for name, output in derivation.outputs.items()}
        assert output_paths.of(derivation) == expected


@NEEDS_NIX
def test_strings_keep_their_bytes(evaluated: dict[StorePath, bytes]) -> None:
    (path,) = (path for path in evaluated if path.name == "strange.drv")
    environment = parse_derivation(path, evaluated[path]).environment
    assert environment["raw"] == 'a\tb\nc\rd"e\\f ${g} ,(["x"],('
    assert environment["control"] == "\x01\x02\x7f\x1b"
    assert environment["bytes"].encode(errors="surrogateescape") == b"\xff\xfe\x80"
    assert environment["unicode"] == "ä →"
    assert environment["empty"] == ""


@NEEDS_NIX
def test_a_floating_output_is_read_and_its_path_is_not_guessed(tmp_path: Path) -> None:
    nix = ScratchNix(tmp_path)
    nix.instantiate(b"""
      let make = a: derivation ({ name = "x"; system = "x86_64-linux"; builder = "/bin/sh"; } // a);
      in make { input = make { __contentAddressed = true; outputHashMode = "recursive";
                               outputHashAlgo = "sha256"; }; }""")
    derivations = {
        path: parse_derivation(path, data) for path, data in read_derivations(nix.store).items()
    }
    assert {output for d in derivations.values() for output in d.outputs.values()} == {
        Output(None, "r:sha256", ""),
        Output(None, "", ""),
    }
    for path, derivation in derivations.items():
        assert print_derivation(derivation) == read_derivations(nix.store)[path]
        with pytest.raises(FormatError, match="only a build can tell"):
            OutputPaths(derivations.__getitem__).of(derivation)


def test_a_deep_graph_needs_no_recursion() -> None:
    def path(number: int) -> StorePath:
        return StorePath.from_base_name(f"{number:032}-x.drv")

    def lookup(wanted: StorePath) -> Derivation:
        number = int(wanted.hash_part)
        inputs = {path(number - 1): ("out",)} if number else {}
        return derivation(wanted, input_derivations=inputs)

    assert OutputPaths(lookup).of(lookup(path(5000))).keys() == {"out"}


def test_input_derivations_in_a_circle_are_an_error() -> None:
    other = StorePath.from_base_name(f"{'1' * 32}-other.drv")
    graph = {
        SOME: derivation(SOME, input_derivations={other: ("out",)}),
        other: derivation(other, input_derivations={SOME: ("out",)}),
    }
    with pytest.raises(FormatError, match="cycle"):
        OutputPaths(graph.__getitem__).of(graph[SOME])


def derivation(
    path: StorePath, *, input_derivations: Mapping[StorePath, tuple[str, ...]]
) -> Derivation:
    return Derivation(
        path=path,
        outputs={"out": Output(path)},
        input_derivations=input_derivations,
        input_sources=(),
        system="x",
        builder="y",
        arguments=(),
        environment={"out": path},
    )


names = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=5)
texts = st.binary(max_size=20).map(lambda data: data.decode("utf-8", "surrogateescape")) | st.text(
    st.sampled_from('ab\\"\n\r\t\0\1\2\3[](),'), max_size=20
)
store_paths = st.builds(
    lambda hash_part, name: StorePath.from_base_name(f"{hash_part}-{name}"),
    st.text("0123456789abcdf", min_size=32, max_size=32),
    st.sampled_from(["a", "b.drv", "c-1.2"]),
)
outputs = st.builds(
    Output,
    st.none() | store_paths,
    st.sampled_from(["", "sha256", "r:sha1"]),
    st.sampled_from(["", "impure", "00" * 20]),
)
derivations = st.builds(
    Derivation,
    path=st.just(SOME),
    outputs=st.dictionaries(names, outputs, min_size=1, max_size=3),
    input_derivations=st.dictionaries(
        store_paths, st.lists(names, max_size=3).map(tuple), max_size=3
    ),
    input_sources=st.lists(store_paths, max_size=3).map(tuple),
    system=texts,
    builder=texts,
    arguments=st.lists(texts, max_size=3).map(tuple),
    environment=st.dictionaries(texts, texts, max_size=4),
    version=st.sampled_from([None, "xp-dyn-drv"]),
)


@given(derivations)
def test_parsing_inverts_printing(printed: Derivation) -> None:
    assert parse_derivation(SOME, print_derivation(printed)) == printed


@given(derivations, st.data())
def test_damaged_text_is_a_format_error_or_prints_as_it_is(
    printed: Derivation, data: st.DataObject
) -> None:
    text = bytearray(print_derivation(printed))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 3)))
    text[start:end] = data.draw(st.sampled_from([b"", b'"', b",", b"\\", b")", b"],[", b"x", b"("]))
    try:
        parsed = parse_derivation(SOME, bytes(text))
    except FormatError:
        return
    assert print_derivation(parsed) == text


@given(st.lists(derivations, max_size=4))
def test_what_is_read_among_others_is_what_was_printed(printed: list[Derivation]) -> None:
    files = DerivationFiles()
    for each in printed:
        read = files.read(SOME, print_derivation(each))
        assert read == each
        for name in ("", "a", "(", "__json", *each.environment):
            assert (name in read.environment) is (name in each.environment)
            assert read.environment.get(name) == each.environment.get(name)


@given(derivations, st.data())
def test_damage_is_found_at_the_latest_when_what_is_damaged_is_looked_into(
    printed: Derivation, data: st.DataObject
) -> None:
    text = bytearray(print_derivation(printed))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 3)))
    text[start:end] = data.draw(
        st.sampled_from(
            [b"", b'"', b",", b"\\", b")", b"],[", b"],", b'","', b'"),("', b"\n", b"x"]
        )
    )
    try:
        expected = parse_derivation(SOME, bytes(text))
    except FormatError as error:
        with pytest.raises(FormatError, match=re.escape(error.message)):
            dict(DerivationFiles().read(SOME, bytes(text)).environment)
    else:
        assert DerivationFiles().read(SOME, bytes(text)) == expected


def test_a_damaged_environment_is_an_error_that_names_the_file() -> None:
    text = print_derivation(derivation(SOME, input_derivations={}))
    read = DerivationFiles().read(SOME, text.removesuffix(b'")])') + b'","")])')
    assert read.outputs == {"out": Output(SOME)}
    assert "outputHash" not in read.environment
    with pytest.raises(FormatError, match=f"{SOME} is not a derivation: the environment is not"):
        _ = read.environment["out"]


@given(st.binary(max_size=60))
def test_anything_else_is_a_format_error(data: bytes) -> None:
    for text in (data, b"Derive(" + data):
        with pytest.raises(FormatError, match=str(SOME)):
            parse_derivation(SOME, text)


def test_outputs_of_outputs_are_refused_by_name() -> None:
    text = (
        f'DrvWithVersion("xp-dyn-drv",[("out","","","")],[("{SOME}",([],[("out",["out"])]))],'
        '[],"s","b",[],[])'
    )
    with pytest.raises(FormatError, match="dynamic derivations"):
        parse_derivation(SOME, text.encode())


def test_an_unknown_version_is_refused_by_name() -> None:
    with pytest.raises(FormatError, match="its version is 'next'"):
        parse_derivation(SOME, b'DrvWithVersion("next",[("out","","","")],[],[],"s","b",[],[])')
