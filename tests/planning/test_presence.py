"""Which paths are there, on small closures made by hand."""

from __future__ import annotations

from rig.made_paths import chain, input_addressed, text

from mirror.planning.presence import Flaw, Found, presence_of

GONE = Flaw(file="nar/x", problem="it is missing", is_fatal=False)
CUT = Flaw(file="nar/x", problem="it is cut short", is_fatal=True)


def test_a_path_is_there_with_all_that_it_refers_to() -> None:
    links = [*chain(3), input_addressed("itself", refers_to_itself=True)]
    kept = presence_of({made.path: Found(info=made.info) for made in links}, absent=())
    assert kept.there == {made.path for made in links}
    assert not kept.incomplete
    assert not kept.broken
    assert kept.lacking(links[2].path) == ()


def test_what_leads_to_something_absent_is_incomplete() -> None:
    first, second, third = chain(3)
    other = text("other")
    found = {made.path: Found(info=made.info) for made in (second, third, other)}
    kept = presence_of(found, absent=[first.path])
    assert kept.there == {other.path}
    assert kept.incomplete == {second.path, third.path}
    assert kept.lacking(third.path) == (first.path,)
    assert kept.lacking(first.path) == (first.path,)


def test_what_nix_goes_on_without_counts_as_absent() -> None:
    first, second = chain(2)
    found = {first.path: Found(info=first.info, flaw=GONE), second.path: Found(info=second.info)}
    kept = presence_of(found, absent=())
    assert kept.incomplete == {second.path}
    assert not kept.broken
    assert kept.flaws == {first.path: GONE}


def test_what_leads_to_damage_is_broken_unless_it_is_incomplete() -> None:
    first, second = chain(2)
    absent = text("absent")
    both = text("both", second, absent)
    found = {
        first.path: Found(flaw=CUT),
        second.path: Found(info=second.info),
        both.path: Found(info=both.info),
    }
    kept = presence_of(found, absent=[absent.path])
    assert not kept.there
    assert kept.broken == {first.path, second.path}
    assert kept.incomplete == {both.path}
    assert kept.lacking(both.path) == tuple(sorted((first.path, absent.path)))
