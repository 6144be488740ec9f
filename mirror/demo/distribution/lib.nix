# The helpers that the distribution shares, and its module system.
#
# A module is an attribute set, a function of `{ config, pkgs, lib, ... }` that gives one, or a path
# to either. It may name others under `imports`; all else is what it defines. Definitions of one
# option are merged by their type: attribute sets name by name, lists one after the other, and of
# anything else the last definition counts (the distribution's own modules come first, then the
# host's, then the edits).
rec {
  inherit (builtins) attrNames attrValues concatLists concatStringsSep filter listToAttrs map mapAttrs toJSON;

  isDerivation = value: builtins.isAttrs value && (value.type or null) == "derivation";

  optionals = condition: list: if condition then list else [ ];

  optionalAttrs = condition: attributes: if condition then attributes else { };

  filterAttrs = keep: attributes:
    listToAttrs (map (name: { inherit name; value = attributes.${name}; })
      (filter (name: keep name attributes.${name}) (attrNames attributes)));

  mapAttrsToList = function: attributes: map (name: function name attributes.${name}) (attrNames attributes);

  # The output that a package is used by in a build (`dev`) or at run time (`out`).
  getDev = package: package.dev or package;

  lines = concatStringsSep "\n";

  merge = definitions:
    let isMergeable = value: builtins.isAttrs value && !isDerivation value;
    in
    if builtins.length definitions == 1 then builtins.head definitions
    else if builtins.all isMergeable definitions
    then builtins.zipAttrsWith (_: merge) definitions
    else if builtins.all builtins.isList definitions then concatLists definitions
    else builtins.elemAt definitions (builtins.length definitions - 1);

  # All modules that `module` stands for, those it imports first.
  collect = arguments: module:
    let
      loaded = if builtins.isPath module || builtins.isString module then import module else module;
      value = if builtins.isFunction loaded then loaded arguments else loaded;
    in
    builtins.concatMap (collect arguments) (value.imports or [ ])
    ++ [ (removeAttrs value [ "imports" ]) ];

  # A system: `config` is what the modules come to; `extendModules` makes it anew with more modules.
  evalModules = { modules, pkgs, lib }:
    let
      arguments = { inherit config pkgs lib; };
      config = merge (builtins.concatMap (collect arguments) modules);
    in
    {
      inherit config pkgs;
      extendModules = more: evalModules { modules = modules ++ more.modules; inherit pkgs lib; };
    };
}
