from __future__ import annotations

from rig.bench import bench

__all__ = ["bench"]
