"""The guard as a program, by its file: isolated, Python looks nowhere for what is not its own."""

from __future__ import annotations

import sys
from pathlib import Path


def _begin() -> None:
    sys.path.append(str(Path(__file__).resolve().parents[3]))
    from mirror.system.guard.guard import main  # noqa: PLC0415 - found now

    main()


if __name__ == "__main__":
    _begin()
