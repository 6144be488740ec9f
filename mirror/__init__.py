"""prefetch: a Nix source-and-dependency prefetch mirror."""
