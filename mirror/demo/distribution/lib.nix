# The helpers that the distribution shares, and its module system.
#
# A module is an attribute set, a function of `{ config, pkgs, lib, ... }` that gives one, or a path
# to either. It may name others under `imports`; all else is what it defines. Definitions of one
# option are merged by their type: attribute sets name by name, lists one after the other, and of
# anything else the last definition counts (the distribution's own modules come first, then the
# host's, then the edits). Where one is forced, all others of that option are dropped. Which options
# there are, and that what is no option is refused, is as in NixOS: see modules/options.nix.
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

  # A definition that counts instead of all others of its option.
  mkForce = content: { _type = "override"; inherit content; };
  isForced = value: builtins.isAttrs value && (value._type or null) == "override";

  merge = definitions:
    let
      isMergeable = value: builtins.isAttrs value && !isDerivation value;
      forced = filter isForced definitions;
    in
    if forced != [ ] then merge (map (value: value.content) forced)
    else if builtins.all isMergeable definitions
    then builtins.zipAttrsWith (_: merge) definitions
    else if builtins.all builtins.isList definitions then concatLists definitions
    else builtins.elemAt definitions (builtins.length definitions - 1);

  # All modules that `module` stands for, those it imports first, each with the file it is in.
  collect = arguments: module:
    let
      isFile = builtins.isPath module || builtins.isString module;
      loaded = if isFile then import module else module;
      value = if builtins.isFunction loaded then loaded arguments else loaded;
    in
    builtins.concatMap (collect arguments) (value.imports or [ ])
    ++ [{ file = if isFile then toString module else "<unknown-file>"; value = removeAttrs value [ "imports" ]; }];

  # The paths of what `value` defines and `options` does not declare.
  undeclared = options: path: value:
    let content = if isForced value then value.content else value; in
    if options == true then [ ]
    else
      builtins.concatMap
        (name:
          if options ? each then undeclared options.each (path ++ [ name ]) content.${name}
          else if options ? ${name} then undeclared options.${name} (path ++ [ name ]) content.${name}
          else [ (path ++ [ name ]) ])
        (attrNames content);

  # A system: `config` is what the modules come to; `extendModules` makes it anew with more modules.
  evalModules = { modules, options, pkgs, lib }:
    let
      arguments = { inherit pkgs lib; config = merged; };
      collected = builtins.concatMap (collect arguments) modules;
      merged = merge (map (module: module.value) collected);
      refused = builtins.concatMap
        (module: map (path: { inherit path; inherit (module) file; }) (undeclared options [ ] module.value))
        collected;
      first = builtins.head refused;
    in
    {
      inherit pkgs;
      config =
        if refused == [ ] then merged
        else throw ("The option `${concatStringsSep "." first.path}' does not exist. Definition values:\n"
          + "- In `${first.file}'");
      extendModules = more: evalModules { modules = modules ++ more.modules; inherit options pkgs lib; };
    };
}
