"""A host on the status page: what became of it, what is kept, how another machine gets it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from mirror.planning.refusals import summary
from mirror.quantities import age, duration, moment, number, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from mirror.serve.status.client_setup import Client
    from mirror.serve.status.overview import Host, Kept

_CHANGES_SHOWN: Final = 8


def host_row(
    host: Host,
    client: Client,
    now: datetime,
    mending: str,
    removal: str | None,
    *,
    is_only: bool,
) -> Iterator[str]:
    """A host as an item of a list, which opens."""
    newest = host.newest
    state, kind = host.state
    refreshed = age(now - host.refreshed) if host.refreshed else "never"
    bytes_kept = size(newest.nar_bytes) if newest else ""
    marks = (" data-attention" if host.is_troubled else "") + (" open" if is_only else "")
    yield f"<li><details{marks}><summary>"
    yield f'<b>{escape(host.name)}</b><span class="state {kind}">{escape(state)}</span>'
    yield f'<span class="soft refreshed">refreshed {refreshed}</span>'
    yield f'<span class="size">{bytes_kept}</span>'
    yield f'<span class="soft size">{number(len(host.generations), "generation")}</span>'
    yield '</summary><div class="more">'
    if not host.is_listed:
        yield "<p>It has left its list. To remove what is kept for it, run this on the machine "
        yield f"that syncs: <code>{escape(removal or '')}</code></p>"
    if newest is not None and newest.missing:
        # Not which: clients are not told the names of private paths.
        yield "<h3>Missing</h3>"
        yield f"<p>{number(len(newest.missing), 'path')} of the newest generation. The next "
        yield "<code>prefetch sync</code> of its list tries to get what is missing.</p>"
    yield from _last_run(host)
    if host.rehearsal is not None:
        receipt = host.rehearsal.receipt
        said = {
            "rehearsed": "it was built without a network",
            "failed": f"it failed: {receipt.problem or 'an edit could not be built'}",
            "stale": "what is kept, or the lock file, has changed since",
        }[host.rehearsal.state]
        yield "<h3>Rehearsal</h3>"
        yield f"<p>{moment(receipt.created)}, Nix {escape(receipt.nix_version)}: {escape(said)}</p>"
    if host.generations:
        yield "<h3>Generations</h3>"
        yield from _generations(host.generations)
    yield from _of_client(host, client, mending)
    yield "</div></details></li>"


def _of_client(host: Host, client: Client, mending: str) -> Iterator[str]:
    """How another machine gets this host, and what it would refuse."""
    kept = host.newest_kept
    if kept is None:
        return
    yield "<h3>On another machine, once, without any configuration</h3>"
    if kept.realisable:
        yield (
            "<p>As root, or as one of Nix's <code>trusted-users</code>; Nix ignores a cache "
            "that other users name:</p>"
        )
        yield f"<pre>{escape(client.command(kept.realisable, host.keys))}</pre>"
        yield (
            "<p>What its own settings lack for that, and what it would copy and build with them "
            "(a dry run does not look at keys):</p>"
        )
        yield f"<pre>{escape(client.look(kept.realisable, host.keys))}</pre>"
    else:
        yield (
            "<p>Its derivation and the outputs of that are not all kept, so the machine evaluates "
            "it itself, with the lines for <code>nix.conf</code> below. If an earlier version kept "
            "them, the next sync records them.</p>"
        )
    problem = host.vouching.problem if host.vouching else None
    if problem is not None:
        signing = f" This signs it: <code>{escape(mending)} --signing-key FILE</code>"
        is_recorded = host.vouching is None or host.vouching.is_recorded
        yield f'<p class="warn">{escape(problem)}.{signing if is_recorded else ""}</p>'


def _last_run(host: Host) -> Iterator[str]:
    run = host.run
    if run is None:
        return
    yield "<h3>Last run</h3>"
    facts = ["all is there" if run.is_complete else "some of it could not be obtained"]
    if run.duration_seconds is not None:
        facts.append(f"took {duration(run.duration_seconds)}")
    if run.received_bytes is not None:
        facts.append(f"received {size(run.received_bytes)}")
    yield f"<p>{moment(run.finished)}: {', '.join(facts)}</p>"
    if run.changed is not None:
        yield f"<p>{escape(run.changed.line(_CHANGES_SHOWN))}</p>"
    if run.left_out:
        yield f"<p>left out for its budget: {escape(', '.join(run.left_out))}</p>"
    yield from items(run.problems)
    # What was not allowed is among the problems.
    yield from items(
        f"{line}; {hint}" for line, hint in summary(each for each in run.refused if each.allowed)
    )
    if run.only_copies:
        yield "<p>You hold the only copy of these; nobody upstream has them any more:</p>"
        yield from items(run.only_copies)


def _generations(generations: Iterable[Kept]) -> Iterator[str]:
    yield '<div class="scroll"><table><tr><th class="size">no.</th><th>since</th><th>level</th>'
    yield '<th class="size">paths</th><th class="size">size</th><th>derivation</th></tr>'
    for kept in generations:
        each = kept.generation
        missing = f" ({len(each.missing):,} missing)" if each.missing else ""
        yield (
            f'<tr><td class="size">{each.number}</td><td>{moment(each.created)}</td>'
            f'<td>{escape(each.level)}</td><td class="size">{kept.paths:,}{missing}</td>'
            f'<td class="size">{size(each.nar_bytes)}</td><td>{escape(each.root)}</td></tr>'
        )
    yield "</table></div>"


def items(lines: Iterable[str]) -> Iterator[str]:
    """A list of lines, if there are any."""
    listed = "".join(f"<li>{escape(line)}</li>" for line in lines)
    if listed:
        yield f'<ul class="plain">{listed}</ul>'
