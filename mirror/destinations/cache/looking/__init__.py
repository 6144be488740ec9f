"""What a cache directory has of a path, as a client's Nix would find it."""
