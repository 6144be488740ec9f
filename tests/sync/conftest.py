from __future__ import annotations

from rig.bench import bench
from rig.village import village

__all__ = ["bench", "village"]
