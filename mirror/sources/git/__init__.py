"""Git revisions as trees, as nixpkgs' fetchgit makes them, through the host's ``git``."""

from mirror.sources.git.checkout import TIME_LIMIT, checkout

__all__ = ["TIME_LIMIT", "checkout"]
