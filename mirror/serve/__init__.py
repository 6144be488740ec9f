"""The LAN server: a binary cache, a hashed mirror and flake inputs over HTTP, and a status page.

It only reads. What it serves is a cache directory or a Nix store (:mod:`mirror.serve.library`). How
a request becomes an answer, without any HTTP library in between, is in :mod:`mirror.serve.http`:
``routes`` reads the path, ``application`` finds the answer, ``sending`` sends it.
"""
