"""The lists and edits that prefetch ships: ``mirror/lists``, in a checkout ``lists`` beside it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def lists_directory() -> Path:
    """Find the directory of the shipped lists; the edits are below it, in ``edits``."""
    packaged = Path(str(resources.files("mirror"))) / "lists"
    return packaged if packaged.exists() else packaged.parents[1] / "lists"


def shipped_edits() -> dict[str, Path]:
    """Find the shipped edits, by name."""
    return {file.stem: file for file in sorted((lists_directory() / "edits").glob("*.nix"))}
