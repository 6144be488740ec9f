from __future__ import annotations

from rig.shell import shell

__all__ = ["shell"]
