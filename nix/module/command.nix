# How the units call the program.
{ lib, cfg }:
let
  # A command line has variables as well, which are not to be expanded.
  argument = word: builtins.replaceStrings [ "$" ] [ "$$" ] (quoted word);

  # One word as systemd reads settings, and rules of tmpfiles: its specifiers are not expanded.
  quoted = word:
    if builtins.match "[][A-Za-z0-9_./:=@+,-]+" word != null then word
    else builtins.replaceStrings [ "%" ] [ "%%" ] (builtins.toJSON word);
in
rec {
  inherit quoted;

  # The lists, with the one that is made of `targets`.
  targetsFile = "prefetch/targets.txt";
  lists = lib.optional (cfg.targets != { }) "/etc/${targetsFile}" ++ cfg.lists;

  to = lib.optionals (cfg.destination != null) [ "--to" cfg.destination ];

  # The words of a command line; `credential` words are given to systemd as they are.
  line = words: credential:
    builtins.concatStringsSep " "
      (map argument ([ (lib.getExe cfg.package) ] ++ words)
        ++ lib.optionals (credential != null) [ "--signing-key" "%d/signing-key" ]);

  # systemd reads the key as root, and shows it to the service alone.
  credentials = key: lib.optionalAttrs (key != null) {
    LoadCredential = "signing-key:${key}";
  };

  isDirectory = cfg.destination != null && lib.hasPrefix "/" cfg.destination;

  # Each can be set otherwise, by an ordinary definition.
  hardening = builtins.mapAttrs (_: lib.mkDefault) (import ./hardening.nix);
}
