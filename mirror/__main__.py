"""``python -m mirror`` is ``prefetch``."""

from mirror.cli import main

main()
