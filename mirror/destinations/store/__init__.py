"""A Nix store as a destination: paths through the worker protocol, generations as links."""
