"""What is served: a cache directory or a Nix store, and who may be given what of it."""
