# The same laptop with another processor, compiled on this machine.
{ lib, ... }:
{
  imports = [ ./laptop.nix ];
  nixpkgs.hostPlatform = lib.mkForce "aarch64-linux";
  nixpkgs.buildPlatform = "x86_64-linux";
}
