"""Who may still have what was pruned."""

from __future__ import annotations

from mirror.serve.library.leases import LEASE_SECONDS, Leases

REFERRERS = {"library": {"program"}, "program": set[str](), "stranger": set[str]()}


def test_whoever_was_led_there_lately_may_go_on() -> None:
    leases = Leases()
    assert not leases.lead_to("library", REFERRERS, now=0)
    leases.give("program", now=0)
    assert leases.lead_to("program", REFERRERS, now=1)
    assert leases.lead_to("library", REFERRERS, now=LEASE_SECONDS - 1)
    assert not leases.lead_to("stranger", REFERRERS, now=1)
    assert not leases.lead_to("library", REFERRERS, now=LEASE_SECONDS)


def test_going_on_is_no_new_beginning() -> None:
    leases = Leases()
    leases.give("program", now=0)
    assert leases.lead_to("library", REFERRERS, now=LEASE_SECONDS - 1)
    assert not leases.lead_to("library", REFERRERS, now=LEASE_SECONDS + 1)


def test_cycles_end() -> None:
    assert not Leases().lead_to("a", {"a": {"b"}, "b": {"a"}}, now=0)


def test_what_is_over_is_forgotten() -> None:
    leases = Leases()
    for number in range(10_000):
        leases.give(str(number), now=float(number))
    assert len(leases._given) < 10_000
    assert leases.lead_to("9999", {"9999": set()}, now=10_000.0)
