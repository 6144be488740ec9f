"""Prometheus' own promtool: what it says of metrics and rules."""

from __future__ import annotations

import subprocess

from rig.unpacked import unpacked


def promtool(*arguments: str, read: str = "") -> str:
    """Run it on what it is to ``read``; what it finds fault with, nothing where all is well."""
    program = unpacked("promtool", "promtool", "usr/bin/promtool")
    completed = subprocess.run(
        [program, *arguments], input=read, capture_output=True, text=True, check=False
    )
    said = completed.stdout + completed.stderr
    return "" if completed.returncode == 0 else said or f"status {completed.returncode}"
