"""The commands, one a module: its options, its call, what it prints.

In each, ``command`` has the options, as typer reads them, and ``execute`` does what was asked; what
it found is text for people, and a document for programs. A module is imported when its command is
named.
"""

from __future__ import annotations

from typing import Final

SUMMARIES: Final = {
    "plan": "Say what would be fetched, from where and how big; write nothing.",
    "sync": "Fetch what the targets of the lists need, verify it and keep it.",
    "check": "Say whether each target can be rebuilt with no network now.",
    "rehearse": "Evaluate and build each target from what was kept alone, offline.",
    "why": "Show what leads from a target to a path, and its size.",
    "export": "Print what a hermetic test must hold, to rebuild targets in it.",
    "roots": "List what is kept: for which target, since when, how big.",
    "serve": "Serve a cache or a Nix store to the network over HTTP.",
    "verify": "Read everything that is kept again, and report damage.",
    "prune": "Drop old generations, and what nothing needs any more.",
    "sign": "Sign what was made here and has no signature.",
    "key": "Make keys that sign what is made here, and show them.",
    "demo": "Show the whole job on this machine, without the internet.",
    "schema": "Print the JSON Schema of a document.",
}
"""The commands in the order of ``--help``, each with what it says of them."""
