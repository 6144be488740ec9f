# `import <nixpkgs> { }`: the packages of one system.
{ system ? builtins.currentSystem, ... }:
(import ../default.nix { inherit system; }).pkgs
