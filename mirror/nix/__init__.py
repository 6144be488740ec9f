"""The installed Nix: evaluate, read its stores, speak its protocol, realise.

:mod:`mirror.nix.command` is the one place that starts its processes.
"""
