"""One target in libFuzzer's hands, guided by the coverage of ``mirror``: :mod:`fuzz.__main__`.

A process of its own, which libFuzzer ends: it has the target's name, and then libFuzzer's options.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["mirror"]):
    from fuzz.targets import all_targets

    TARGETS = all_targets()


def main(name: str, options: list[str]) -> None:
    """Fuzz; never returns."""
    target = TARGETS[name]
    with target.checking() as check:

        def once(data: bytes) -> None:
            target.accepts(check, data)

        atheris.Setup([sys.argv[0], *options], once)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
