"""The LAN server: a binary cache, a hashed mirror and flake inputs over HTTP, and a status page.

It only reads. What it serves is a cache directory or a Nix store (:mod:`mirror.serve.library`), and
a request becomes an answer without any HTTP library in between: :mod:`mirror.serve.routes` reads
the path, :mod:`mirror.serve.application` finds the answer, :mod:`mirror.serve.sending` sends it.
"""
