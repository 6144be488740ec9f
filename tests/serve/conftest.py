"""Fixtures of these tests."""

from rig.bench import bench
from rig.lan import lan

__all__ = ["bench", "lan"]
