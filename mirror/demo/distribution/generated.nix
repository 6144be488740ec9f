# A system as large as wanted, of the shapes that real graphs have, from a number and a seed.
#
# Each package has a source, a build tool of its own and a plugin, and depends on two packages before
# it, so that many ways lead to the same one. By the seed, a cache holds some outputs and not others:
# `cached` lists them, each with the text that is its content and the paths that it refers to. The
# derivations build, and what they build is of no use.
{ packages ? 500
, seed ? "one"
, pins ? builtins.fromJSON (builtins.readFile ./pins.json)
}:
let
  system = "x86_64-linux";
  lib = import ./lib.nix;
  stdenv = import ./stdenv.nix { inherit system pins lib; };
  inherit (builtins) elemAt genList;

  # A number below 4096 for a package and a purpose, always the same.
  digits = builtins.listToAttrs (genList
    (value: { name = builtins.substring value 1 "0123456789abcdef"; inherit value; }) 16);
  number = index: purpose:
    let
      hash = builtins.hashString "sha256" "${seed} ${toString index} ${purpose}";
      digit = place: digits.${builtins.substring place 1 hash};
    in
    digit 0 * 256 + digit 1 * 16 + digit 2;
  below = limit: index: purpose:
    let drawn = number index purpose; in drawn - limit * (drawn / limit);
  percent = share: index: purpose: below 100 index purpose < share;

  # A derivation; what the cache holds of it is in `held`: output names with what they refer to.
  make = { name, index, outputs ? [ "out" ], inputs ? [ ], tools ? [ ], share ? 70, ... }@attributes:
    let
      drv = derivation ({
        inherit name outputs inputs system tools;
        builder = "${stdenv.busybox}/bin/sh";
        args = [ "-e" ./scripts/generate.sh "${stdenv.busybox}/bin" ];
      } // removeAttrs attributes [ "index" "share" ]);
      isHeld = output: percent share index "${name} ${output}";
    in
    drv // { held = builtins.filter isHeld outputs; };

  text = name: "the source ${name} of ${seed}\n";
  source = index: kind:
    let name = "${kind}-${toString index}"; in
    stdenv.fetchurl
      {
        name = "${name}.txt";
        url = "${pins.origin}/generated/${seed}/${name}.txt";
        sha256 = builtins.hashString "sha256" (text name);
      } // {
      content = text name;
      held = if percent 60 index kind then [ "out" ] else [ ];
    };

  one = index:
    let
      earlier = purpose: all: elemAt all (below index index purpose);
      dependencies =
        if index == 0 then [ ]
        else [ (elemAt all (index / 2)).package (earlier "dependency" all).package ];
      label = toString index;
      sources = [ (source index "archive") ]
        ++ lib.optionals (below 3 index "patched" == 0) [ (source index "patch") ];
      tool = make { inherit index; name = "tool-${label}"; inputs = map (dependency: dependency.out) dependencies; };
      package = make {
        inherit index;
        name = "package-${label}";
        outputs = if below 2 index "outputs" == 0 then [ "out" "dev" "doc" ] else [ "out" ];
        tools = [ tool ] ++ lib.optionals (index > 0) [ (earlier "tool" all).tool ];
        inputs = map lib.getDev dependencies ++ map (dependency: dependency.out) dependencies;
        inherit sources;
      };
      plugin = make {
        inherit index;
        name = "plugin-${label}";
        tools = [ package.dev or package ];
        inputs = [ package.out ];
      };
      unit = make {
        inherit index;
        name = "unit-${label}";
        tools = [ tool ];
        inputs = [ plugin package.out ];
        # One in two could be had from the cache, and must not be.
        share = 50;
        preferLocalBuild = true;
        allowSubstitutes = false;
      };
    in
    {
      inherit tool package plugin unit;
      derivations = sources ++ [ tool package plugin unit ];
      # What the rest refers to when it has been built.
      references = map (dependency: dependency.package) (if index == 0 then [ ] else [ (elemAt all (index / 2)) ]);
      hasUnit = below 4 index "unit" == 0;
    };
  all = genList one packages;

  heldOf = each:
    builtins.concatMap
      (drv: map
        (output: {
          path = builtins.unsafeDiscardStringContext drv.${output}.outPath;
          text = drv.content or "${drv.name} ${output}\n";
          references = builtins.concatMap
            (dependency: lib.optionals (drv ? inputs && builtins.elem "out" dependency.held)
              [ (builtins.unsafeDiscardStringContext dependency.out.outPath) ])
            each.references;
        })
        drv.held)
      each.derivations;
in
{
  toplevel = make {
    name = "generated-system";
    index = packages;
    share = 0;
    inputs = builtins.concatMap
      (each: [ each.plugin ] ++ lib.optionals each.hasUnit [ each.unit ])
      all;
    preferLocalBuild = true;
    allowSubstitutes = false;
  };
  cached = builtins.concatMap heldOf all;
  # What the origin has: a file's name and its text.
  sources = builtins.concatMap
    (each: builtins.concatMap
      (drv: lib.optionals (drv ? content) [{ inherit (drv) name; text = drv.content; }])
      each.derivations)
    all;
}
