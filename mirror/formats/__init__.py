"""Nix's own formats: bytes in, values out, no I/O."""
