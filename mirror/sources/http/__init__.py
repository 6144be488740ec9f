"""HTTP as the sources use it: a client that retries, resumes, paces itself, maps its errors."""

from mirror.sources.http.client import HttpClient, HttpSettings

__all__ = ["HttpClient", "HttpSettings"]
