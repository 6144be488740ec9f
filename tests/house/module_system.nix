# A module system for tests: as much of nixpkgs' `lib.evalModules` as the project's own module takes.
#
# It stands in for nixpkgs' `lib`, which the tests cannot get. Options are declared with types,
# each definition is checked against its type, definitions merge by it, `mkIf`, `mkMerge` and
# priorities mean what they mean there, and what no option declares is refused. Left out is the
# rest: documentation, `disabledModules`, freeform types, types that come from several modules.
# Where PREFETCH_NIXPKGS_LIB names the real one, the tests run with that, too.
let
  inherit (builtins)
    all attrNames attrValues concatLists concatMap concatStringsSep elem filter foldl' head isAttrs
    isBool isFunction isInt isList isPath isString length listToAttrs mapAttrs match stringLength
    substring zipAttrsWith;

  reversed = list: foldl' (done: one: [ one ] ++ done) [ ] list;
  show = path: concatStringsSep "." path;
  isType = type: value: isAttrs value && (value._type or null) == type;
  isDerivation = value: isAttrs value && (value.type or null) == "derivation";

  # What is under a merge, a condition or a priority, as definitions of what is inside it. The
  # condition is not looked at: it may depend on what is defined.
  pushDown = value:
    if isType "merge" value then concatMap pushDown value.contents
    else if isType "if" value then map (mapAttrs (_: mkIf value.condition)) (pushDown value.content)
    else if isType "override" value then
      map (mapAttrs (_: mkOverride value.priority)) (pushDown value.content)
    else [ value ];

  # The definitions that count: conditions met, the most urgent priority alone.
  discharge = value:
    if isType "merge" value then concatMap discharge value.contents
    else if isType "if" value then if value.condition then discharge value.content else [ ]
    else if isType "override" value then [{ value = value.content; inherit (value) priority; }]
    else [{ inherit value; priority = 100; }];

  # The value of an option of a type from what defines it, in a list that is empty where nothing does.
  settle = type: path: definitions:
    let
      found = concatMap (given: map (one: one // { inherit (given) file; }) (discharge given.value))
        definitions;
      urgent = foldl' (least: one: if one.priority < least then one.priority else least) 10000 found;
      counted = filter (one: one.priority == urgent) found;
      wrong = filter (one: !type.check one.value) counted;
    in
    if counted == [ ] then [ ]
    else if wrong != [ ] then
      throw "A definition for option `${show path}' is not of type `${type.description}'. Definition values:\n- In `${(head wrong).file}'"
    else [ (type.merge path counted) ];

  settled = type: path: definitions:
    let values = settle type path definitions; in
    if values == [ ] then
      throw "The option `${show path}' was accessed but has no value defined. Try setting the option."
    else head values;

  equal = path: definitions:
    if all (one: one.value == (head definitions).value) definitions then (head definitions).value
    else throw "The option `${show path}' has conflicting definition values";

  scalar = description: check: { inherit description check; merge = equal; };
  elements = type: path: definitions: concatLists (map
    (one: concatMap (value: settle type path [{ inherit (one) file; inherit value; }]) one.value)
    definitions);

  types = rec {
    bool = scalar "boolean" isBool;
    int = scalar "signed integer" isInt;
    str = scalar "string" isString;
    port = scalar "16 bit unsigned integer" (value: isInt value && value >= 0 && value <= 65535);
    ints = {
      unsigned = scalar "unsigned integer" (value: isInt value && value >= 0);
      positive = scalar "positive integer" (value: isInt value && value > 0);
      between = least: most:
        scalar "integer between ${toString least} and ${toString most} (both inclusive)"
          (value: isInt value && value >= least && value <= most);
    };
    path = scalar "absolute path"
      (value: (isPath value || isString value) && substring 0 1 (toString value) == "/");
    package = scalar "package" isDerivation;
    enum = values: scalar "one of ${builtins.toJSON values}" (value: elem value values);
    strMatching = pattern:
      scalar "string matching the pattern ${pattern}"
        (value: isString value && match pattern value != null);
    lines = {
      description = "strings concatenated with \"\\n\"";
      check = isString;
      merge = _: definitions: concatStringsSep "\n" (map (one: one.value) definitions);
    };
    nullOr = type: {
      description = "null or ${type.description}";
      check = value: value == null || type.check value;
      merge = path: definitions:
        if all (one: one.value == null) definitions then null
        else settled type path definitions;
    };
    either = one: other: {
      description = "${one.description} or ${other.description}";
      check = value: one.check value || other.check value;
      merge = path: definitions:
        settled (if all (each: one.check each.value) definitions then one else other) path definitions;
    };
    oneOf = given: foldl' either (head given) (builtins.tail given);
    listOf = type: {
      description = "list of ${type.description}";
      check = isList;
      merge = elements type;
    };
    attrsOf = type: {
      description = "attribute set of ${type.description}";
      check = value: isAttrs value && !isDerivation value;
      merge = path: definitions:
        let
          each = zipAttrsWith (name: settle type (path ++ [ name ])) (concatMap
            (one: map (mapAttrs (_: value: { inherit (one) file; inherit value; })) (pushDown one.value))
            definitions);
        in
        mapAttrs (_: head) (filterAttrs (_: values: values != [ ]) each);
    };
    submodule = module: {
      description = "submodule";
      check = value: isAttrs value || isFunction value;
      merge = path: definitions: (evaluated {
        prefix = path;
        specialArgs = { inherit lib; name = builtins.elemAt path (length path - 1); };
        modules = [{ inherit module; }] ++ map (one: { inherit (one) file; module = one.value; }) definitions;
      }).config;
    };
  };

  mkIf = condition: content: { _type = "if"; inherit condition content; };
  mkOverride = priority: content: { _type = "override"; inherit priority content; };
  filterAttrs = keep: attributes: listToAttrs (map (name: { inherit name; value = attributes.${name}; })
    (filter (name: keep name attributes.${name}) (attrNames attributes)));
  getName = package: package.pname or package.name;

  # A module and all that it imports, each as its file, its options and its definitions.
  collect = arguments: { file ? "<unknown-file>", module }:
    let
      isFile = isPath module || isString module;
      loaded = if isFile then import module else module;
      value = if isFunction loaded then loaded arguments else loaded;
      where = if isFile then toString module else file;
      isLong = value ? config || value ? options;
      unknown = attrNames (removeAttrs value [ "_file" "imports" "options" "config" ]);
    in
    [{
      file = where;
      options = value.options or { };
      definitions =
        if !isLong then removeAttrs value [ "_file" "imports" ]
        else if unknown != [ ] then
          throw "Module `${where}' has an unsupported attribute `${head unknown}'."
        else value.config or { };
    }]
    ++ concatMap (one: collect arguments { file = where; module = one; }) (value.imports or [ ]);

  declared = path: declarations:
    zipAttrsWith
      (name: given:
        if length given == 1 then head given
        else if all (one: !isType "option" one) given then declared (path ++ [ name ]) given
        else throw "The option `${show (path ++ [ name ])}' is already declared")
      declarations;

  valued = path: options: definitions:
    let
      defined = concatMap (one: map (value: { inherit (one) file; inherit value; }) (pushDown one.value)) definitions;
      of = name: concatMap
        (one: if one.value ? ${name} then [{ inherit (one) file; value = one.value.${name}; }] else [ ])
        defined;
      refused = concatMap
        (one: map (name: { inherit name; inherit (one) file; })
          (filter (name: !(options ? ${name})) (attrNames one.value)))
        defined;
      one = name: option:
        let at = path ++ [ name ]; in
        if !isType "option" option then valued at option (of name)
        else
          let
            given = of name
              ++ (if option ? default then [{ file = "default"; value = mkOverride 1500 option.default; }] else [ ]);
          in
          settled option.type at given;
    in
    if !all (one: isAttrs one.value) defined then
      throw "The option `${show path}' is a set of options, and is defined as something else."
    else if refused == [ ] then mapAttrs one options
    else throw "The option `${show (path ++ [ (head refused).name ])}' does not exist. Definition values:\n- In `${(head refused).file}'";

  evaluated = { modules, specialArgs ? { }, prefix ? [ ] }:
    let
      # The first module's definitions come last in lists, as they do there.
      collected = reversed
        (concatMap (collect ({ inherit lib config options; } // specialArgs)) modules);
      options = declared prefix (map (one: one.options) collected);
      config = valued prefix options
        (map (one: { inherit (one) file; value = one.definitions; }) collected);
    in
    { inherit config options; };

  lib = rec {
    inherit types mkIf mkOverride filterAttrs;

    evalModules = { modules, specialArgs ? { } }:
      evaluated { modules = map (module: { inherit module; }) modules; inherit specialArgs; };

    mkOption = declaration: { _type = "option"; } // declaration;
    mkEnableOption = what: mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Whether to enable ${what}.";
    };
    mkMerge = contents: { _type = "merge"; inherit contents; };
    mkDefault = mkOverride 1000;
    literalExpression = text: { _type = "literalExpression"; inherit text; };

    optional = condition: value: if condition then [ value ] else [ ];
    optionals = condition: list: if condition then list else [ ];
    optionalString = condition: text: if condition then text else "";
    optionalAttrs = condition: attributes: if condition then attributes else { };
    genAttrs = names: make: listToAttrs (map (name: { inherit name; value = make name; }) names);
    mapAttrsToList = function: attributes: attrValues (mapAttrs function attributes);
    concatStrings = concatStringsSep "";
    hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
    hasInfix = infix: text: length (filter isString (builtins.split (escapeRegex infix) text)) > 1;
    escapeRegex = builtins.replaceStrings
      [ "\\" "[" "{" "(" ")" "^" "$" "|" "*" "+" "?" "." ]
      [ "\\\\" "\\[" "\\{" "\\(" "\\)" "\\^" "\\$" "\\|" "\\*" "\\+" "\\?" "\\." ];
    getExe = package: "${package}/bin/${package.meta.mainProgram or (getName package)}";
  };
in
lib
