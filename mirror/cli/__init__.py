"""The command line: parse, call one function, render. :func:`main` is the program."""

from mirror.cli.app import main

__all__ = ["main"]
