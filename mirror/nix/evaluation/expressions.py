"""The Nix expressions that evaluation hands to Nix, and how values are written in them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from mirror.planning.lists.list_values import NEAREST, nearest
from mirror.planning.lists.targets import split_attribute_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DESCRIBE: Final = """value: {
  type = builtins.typeOf value;
  drvPath = if builtins.isAttrs value && value ? drvPath then "${value.drvPath}" else null;
}"""
"""What is to be known of a value: its type, and its derivation if it is one."""

OUTPUTS_OF_INPUT: Final = """{
  inputs.target.url = "path:/to-be-overridden";
  outputs = { self, target }: { all = target.outputs; };
}
"""
"""A flake that hands on the outputs of another, for a Nix which cannot name all of them."""

NAMES: Final = """value:
let set = if builtins.isFunction value then value { } else value; in
if builtins.isAttrs set then builtins.attrNames set else [ ]
"""
"""The names of what a value has; of a function with defaults for all it takes, of its result."""

_IDENTIFIER: Final = re.compile(
    r"(?!(?:assert|else|if|in|inherit|let|rec|then|with|or)\Z)[A-Za-z_][A-Za-z0-9_'-]*"
)

# `at` must exist for a place to be chosen; what is `inside` must exist once it is chosen. Nothing
# but the names on the way is evaluated of the places that are not chosen.
_CHOOSE: Final = """outputs:
let
  system = %(system)s;
  whole = %(whole)s;
  path = %(path)s;
  describe = %(describe)s;
  places = [
    { at = [ "nixosConfigurations" whole ]; inside = [ "config" "system" "build" "toplevel" ]; }
    { at = [ "homeConfigurations" whole ]; inside = [ "activationPackage" ]; }
    { at = [ "darwinConfigurations" whole ]; inside = [ "system" ]; }
    { at = [ "devShells" system ] ++ path; inside = [ ]; }
    { at = [ "packages" system ] ++ path; inside = [ ]; }
    { at = [ "legacyPackages" system ] ++ path; inside = [ ]; }
    { at = path; inside = [ ]; }
  ];
  exists = value: names: names == [ ] || builtins.isAttrs value
    && builtins.hasAttr (builtins.head names) value
    && exists (builtins.getAttr (builtins.head names) value) (builtins.tail names);
  get = builtins.foldl' (value: name: builtins.getAttr name value);
  found = builtins.filter (place: exists outputs place.at) places;
  chosen = (builtins.head found).at ++ (builtins.head found).inside;
  reach = at: names:
    if builtins.length names > 1 && exists outputs (at ++ [ (builtins.head names) ])
    then reach (at ++ [ (builtins.head names) ]) (builtins.tail names) else at;
  inside = reach [ ] path;
  namesAt = at: if exists outputs at && builtins.isAttrs (get outputs at)
    then map (name: at ++ [ name ]) (builtins.attrNames (get outputs at)) else [ ];
in
if found == [ ] then {
  available = builtins.concatMap namesAt ([
    [ "nixosConfigurations" ] [ "homeConfigurations" ] [ "darwinConfigurations" ]
    (reach [ "devShells" system ] path)
    (reach [ "packages" system ] path)
    (reach [ "legacyPackages" system ] path)
  ] ++ (if inside == [ ] then [ ] else [ inside ]));
} else describe (get outputs chosen) // { inherit chosen; }
"""

PACKAGES_OF_FILE: Final = (
    "value: (if builtins.isFunction value then value { } else value).pkgs or { }"
)
"""The function that finds the package set of what a file has; one with defaults is called."""

NO_FUNCTION: Final = "the file is not a function, so it has no arguments to change"
"""What evaluation throws where arguments are given to a file that takes none."""

# What was chosen lies in a configuration, which is the first on the way to it that can be extended.
# home-manager and nix-darwin have not always given an extended one the attributes beside `config`.
_EDIT: Final = """outputs:
let
  describe = %(describe)s;
  other = {
    activationPackage = [ "config" "home" "activationPackage" ];
    system = [ "config" "system" "build" "toplevel" ];
  };
  step = value: name: builtins.getAttr name value;
  inside = extended: names:
    if builtins.length names == 1 && ! builtins.hasAttr (builtins.head names) extended
    then builtins.foldl' step extended (other.${builtins.head names} or names)
    else builtins.foldl' step extended names;
  edit = value: names:
    if builtins.isAttrs value && value ? extendModules
    then describe (inside (value.extendModules { modules = [ %(module)s ]; }) names)
    else if names == [ ] then { inapplicable = true; }
    else edit (builtins.getAttr (builtins.head names) value) (builtins.tail names);
in
edit outputs %(chosen)s
"""

_MERGED: Final = """let
  file = import %(file)s;
in
if builtins.isFunction file || builtins.isAttrs file && file ? __functor
then file (%(arguments)s // import %(edit)s)
else throw %(no_function)s
"""

# What is not there, no package, or refused (unfree, broken, an alias that throws) is null.
_PACKAGES: Final = """given:
let
  pkgs = (%(set)s) given;
  get = value: names:
    if names == [ ] then value
    else if builtins.isAttrs value && builtins.hasAttr (builtins.head names) value
    then get (builtins.getAttr (builtins.head names) value) (builtins.tail names)
    else null;
  pathOf = value: builtins.unsafeDiscardStringContext "${value.outPath}";
  describe = value:
    if builtins.isAttrs value && (value.type or null) == "derivation" then {
      first = pathOf value;
      outputs = builtins.listToAttrs (map
        (name: { inherit name; value = pathOf (builtins.getAttr name value); })
        (builtins.filter (name: builtins.hasAttr name value) (value.outputs or [ ])));
    } else null;
  attempt = names:
    let
      described = describe (get pkgs names);
      tried = builtins.tryEval (builtins.deepSeq described described);
    in
    if tried.success then tried.value else null;
in
map attempt [
%(wanted)s
]
"""


def string(text: str) -> str:
    """Write a string as Nix reads it, quotes and antiquotations escaped."""
    return json.dumps(text, ensure_ascii=False).replace("${", "\\${")


def path(file: Path) -> str:
    """Write an absolute path, whatever characters it has."""
    return f"(/. + {string(str(file))})"


def nearest_attributes(name: str, there: Sequence[Sequence[str]]) -> str | None:
    """Name the attributes that are most like ``name``; None if there are none at all."""
    spelled = {attribute_path(each): each[-1] for each in there}
    last = split_attribute_path(name)[-1]
    like = nearest(last, spelled.values())
    # Several may have one name, in different places.
    found = [each for near in like for each, called in spelled.items() if called == near]
    rest = len(spelled) - len(found[:NEAREST])
    more = f", and {rest:,} more" if rest else ""
    return f"it has {', '.join(found[:NEAREST])}{more}" if found else None


def attribute_path(parts: Sequence[str]) -> str:
    """Write an attribute path, with quotes where Nix wants them."""
    return ".".join(name if _IDENTIFIER.fullmatch(name) else string(name) for name in parts)


def choose(name: str, system: str) -> str:
    """Make the function that finds ``name`` among a flake's outputs, and describes what it is.

    A configuration's name is taken whole (``alice@host.example``, with or without quotes around
    it); elsewhere it is an attribute path.
    """
    parts = split_attribute_path(name)
    return _CHOOSE % {
        "system": string(system),
        "whole": string(parts[0] if len(parts) == 1 else name),
        "path": names(parts),
        "describe": DESCRIBE,
    }


def edited_output(chosen: Sequence[str], module: str) -> str:
    """Make the function that finds what was chosen in a flake's outputs, edited by ``module``."""
    return _EDIT % {"chosen": names(chosen), "module": module, "describe": DESCRIBE}


def edited_configuration(file: Path, module: str) -> str:
    """Make the system that a NixOS configuration describes together with ``module``."""
    imports = f"{{ imports = [ {path(file)} {module} ]; }}"
    return f"import <nixpkgs/nixos> {{ configuration = {imports}; }}"


def edited_call(file: Path, arguments: Path | None, edit: str) -> str:
    """Call the function in ``file`` with its arguments, those of the file ``edit`` over them."""
    return _MERGED % {
        "file": path(file),
        "arguments": "{ }" if arguments is None else f"import {path(arguments)}",
        "edit": edit,
        "no_function": string(NO_FUNCTION),
    }


def packages_of_configuration(place: Sequence[str]) -> str:
    """Make the function that finds the package set of a flake's configuration."""
    return f"outputs: outputs.{attribute_path(place)}.pkgs or {{ }}"


def packages_of_flake(system: str) -> str:
    """Make the function that finds a flake's packages for a system."""
    of_system = string(system)
    return (
        f"outputs: (outputs.legacyPackages.{of_system} or {{ }}) "
        f"// (outputs.packages.{of_system} or {{ }})"
    )


def described_packages(package_set: str, attributes: Sequence[Sequence[str]]) -> str:
    """Make the function that says of attributes of a package set which paths they are.

    ``package_set`` is the function that makes the set.
    """
    return _PACKAGES % {"set": package_set, "wanted": "\n".join(names(each) for each in attributes)}


def names(parts: Sequence[str]) -> str:
    """Write a list of strings."""
    return f"[ {' '.join(string(name) for name in parts)} ]"
