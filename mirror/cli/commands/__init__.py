"""The commands, one a module: its options, its call, what it prints.

In each, ``command`` has the options, as typer reads them, and ``execute`` does what was asked; what
it found is text for people, and a document for programs. A module is imported when its command is
named, so ``prefetch --help`` has its summary from here. One that is a group of commands has
``COMMANDS`` instead of ``command``.
"""

from __future__ import annotations

from typing import Final

SUMMARIES: Final = {
    "plan": "Show what would be fetched, from where and how large it is.",
    "sync": "Fetch what targets need, verify it and keep it.",
    "check": "Tell whether targets can be rebuilt without a network now.",
    "rehearse": "Rebuild targets offline, from what is kept and nothing else.",
    "why": "Show why a target needs a path, and how large the path is.",
    "export": "Print the store paths that a hermetic test needs.",
    "roots": "List what is kept: for which target, since when, how large.",
    "diff": "Show what changed between two generations, package by package.",
    "serve": "Serve a cache directory or a Nix store over HTTP.",
    "probe": "Tell whether this machine uses a cache, and what it lacks.",
    "verify": "Read all that is kept again, and report or repair damage.",
    "prune": "Remove old generations, and paths that no generation needs.",
    "sign": "Sign what was made here and has no signature yet.",
    "key": "Generate signing keys, and show their public keys.",
    "config": "Show which options are set, and where.",
    "demo": "Show everything on this machine, without the internet.",
    "schema": "Print the JSON Schema of a document.",
    "man": "Print the manual page, for man(1).",
}
"""The commands in the order of ``--help``, each with the first line of its docstring."""
