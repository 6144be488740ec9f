"""Text that several commands print."""

from __future__ import annotations

from mirror.cli.text import together

HOSTS = [f"host-{number}" for number in range(1, 13)]


def test_few_names_have_a_line_each_also_where_the_same_is_said() -> None:
    said = [(name, ["ready", "  at once"]) for name in HOSTS[:2]]
    assert list(together(said)) == ["host-1: ready", "  at once", "host-2: ready", "  at once"]


def test_many_names_share_what_is_the_same_at_the_place_of_the_first() -> None:
    said = [(name, ["not ready" if name == "host-3" else "ready"]) for name in HOSTS]
    assert list(together([("pi", ["ready so far"]), *said])) == [
        "pi: ready so far",
        "host-1, host-2, host-4, host-5, host-6, host-7, host-8, host-9 and 3 more: ready",
        "host-3: not ready",
    ]
