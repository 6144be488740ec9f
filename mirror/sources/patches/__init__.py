"""Patches as nixpkgs' fetchpatch normalises them with patchutils: bytes in, bytes out, no I/O.

`normalise` is the whole of it, made of `filterdiff`, `interdiff` and how these read names
(`names`), hunks (`hunks`) and patterns (`globs`).
"""
