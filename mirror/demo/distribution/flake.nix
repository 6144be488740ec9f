{
  description = "A small distribution: two hosts, some forty packages, every kind of source";

  outputs = { self }: {
    inherit (import ./default.nix { }) nixosConfigurations packages devShells;
  };
}
