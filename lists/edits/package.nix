# A program more for everyone: `edits=package:ripgrep`, or an attribute path, as in
# `edits=package:python3Packages.requests`. It takes the package, and system-path is made anew.
attribute:
{ pkgs, ... }:
let
  names = builtins.filter builtins.isString (builtins.split "[.]" attribute);
in
{
  environment.systemPackages = [ (builtins.foldl' (set: name: set.${name}) pkgs names) ];
}
