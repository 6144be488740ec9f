"""Where paths come from: binary caches, origins, hashed mirrors, the builder, a store on disk.

Each is a :class:`Source`: it opens a path's NAR, or says with an error of
:class:`mirror.errors.SourceError` why it does not.
"""

from mirror.sources.source import Nar, Source, Wanted

__all__ = ["Nar", "Source", "Wanted"]
