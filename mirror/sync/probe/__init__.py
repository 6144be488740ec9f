"""``probe``: whether this machine's Nix uses a cache, and what it takes from there."""
