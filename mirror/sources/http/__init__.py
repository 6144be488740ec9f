"""HTTP as the sources use it: a client that retries, resumes, paces itself, maps its errors."""

import sys

# httpx imports a command line of its own, and with it all of rich, where that is installed, as it
# is for typer. None is for a module that is not there.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]

from mirror.sources.http.client import HttpClient, HttpSettings  # noqa: E402 - see above

__all__ = ["HttpClient", "HttpSettings"]
