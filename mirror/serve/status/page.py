"""The status page: one HTML document that loads nothing else.

Its script adds buttons and a filter; without one, everything is there to be read.
"""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Final

from mirror.quantities import age, moment, number, size
from mirror.serve.status.assets import script, style
from mirror.serve.status.page_hosts import host_row, items
from mirror.version import program_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mirror.serve.status.client_setup import Client
    from mirror.serve.status.metrics import Counters
    from mirror.serve.status.overview import Overview

_INPUTS_SHOWN: Final = 40
_SIGN_CACHE: Final = "prefetch sign"
_SIGN_STORE: Final = "prefetch serve --store"
_FILTERED: Final = 10
"""More hosts than these are not taken in at a glance."""
_HOSTS_NAMED: Final = 5


def render(
    overview: Overview,
    client: Client,
    name: str,
    file_bytes: int | None,
    *,
    title: str | None = None,
    counters: Counters | None = None,
) -> str:
    """Write the page; ``name`` is what is served, ``file_bytes`` the size of its NARs.

    ``counters`` are the server's; None without a server.
    """
    served = f", serving {name}" if title else ""
    if counters is not None:
        served += f"; {size(counters.sent_bytes)} sent since {moment(counters.since)}"
    return "\n".join(_page(overview, client, name, file_bytes, title=title, served=served))


def _page(
    overview: Overview,
    client: Client,
    name: str,
    file_bytes: int | None,
    *,
    title: str | None,
    served: str,
) -> Iterator[str]:
    now = datetime.now(UTC)
    mending = _SIGN_STORE if file_bytes is None else f"{_SIGN_CACHE} --to {shlex.quote(name)}"
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(title or f'prefetch: {name}')}</title>"
    yield f'<link rel="icon" href="data:,"><style>{style()}</style></head><body><main>'
    yield f"<h1>{escape(title or name)}</h1>"
    facts = [
        number(len(overview.hosts), "host"),
        f"{number(overview.paths, 'path')} kept",
        f"{number(len(overview.files), 'source')} by hash",
    ]
    if file_bytes is not None:
        facts.append(f"{size(file_bytes)} of NARs")
    if overview.oldest_rehearsal is not None:
        facts.append(f"oldest rehearsal {age(now - overview.oldest_rehearsal)}")
    yield f'<p class="soft">{" · ".join(facts)} · as of {moment(now)}</p>'
    if len(overview.hosts) > _FILTERED:
        yield '<p><a href="#use">Use it from another machine</a></p>'
    if overview.hosts:
        yield _summary(overview)
    if overview.unreadable:
        yield '<h2 class="bad">Cannot be read, and left out here</h2>'
        yield from items(overview.unreadable)
    yield "<h2>Hosts</h2>"
    if overview.hosts:
        if len(overview.hosts) > _FILTERED:
            yield _filter(overview)
        yield '<ul class="hosts">'
        for host in overview.by_urgency:
            yield from host_row(
                host, client, now, mending, overview.removal, is_only=len(overview.hosts) == 1
            )
        yield "</ul>"
    else:
        yield (
            "<p>Nothing is kept here yet. On the machine that has this directory, "
            f"<code>prefetch sync LIST --to {escape(shlex.quote(name))}</code> makes the first "
            "generation.</p>"
        )
    yield from _use(overview, client)
    yield (
        '<p class="soft">The same for programs: <a href="/status.json">status.json</a>, '
        '<a href="/metrics">metrics</a>.</p></main>'
    )
    yield f'<footer class="soft">prefetch {escape(program_version() + served)}</footer>'
    yield f"<script>{script()}</script></body></html>"


def _summary(overview: Overview) -> str:
    """How many hosts somebody should look at."""
    troubled, hosts = overview.troubled, number(len(overview.hosts), "host")
    needs = "needs" if len(troubled) == 1 else "need"
    said = (
        f"{len(troubled):,} of {hosts} {needs} attention" if troubled else "No host needs attention"
    )
    kind = troubled[0].state[1] if troubled else "good"
    unproven = sum(host.is_unproven for host in overview.hosts)
    more = f'<span class="soft">; {unproven:,} never rehearsed</span>' if unproven else ""
    return f'<p class="summary"><b class="{kind}">{said}</b>{more}</p>'


def _filter(overview: Overview) -> str:
    """What the script shows, and works."""
    problems = '<label><input type="checkbox"> Problems only</label>' if overview.troubled else ""
    return (
        '<div class="filter" role="search" aria-label="Filter the hosts" hidden><label>Host '
        '<input type="search" autocomplete="off" autocapitalize="none" spellcheck="false">'
        f"</label>{problems}<output></output></div>"
    )


def _use(overview: Overview, client: Client) -> Iterator[str]:
    yield '<h2 id="use">Use it from another machine</h2>'
    yield (
        "<p>Nix asks this cache first, and its other caches when this one is away. That delays a "
        f"command by some {client.patience} seconds, or by some {client.patience_with_a_halt} if "
        "the server hangs.</p>"
    )
    if not client.public_keys:
        yield (
            "<p>What was made here is not signed. Clients accept content-addressed paths without a "
            "signature, and what upstream signed if they trust upstream's keys. For the rest, sync "
            "with <code>--signing-key</code>.</p>"
        )
    yield from _keys(overview, client)
    yield f"<h3>nix.conf</h3><pre>{escape(client.nix_conf)}</pre>"
    yield f"<h3>NixOS</h3><pre>{escape(client.nixos_module)}</pre>"
    if overview.files:
        yield "<h3>Sources by their hash</h3>"
        yield f"<pre>{escape(client.sources())}</pre>"
    if overview.inputs:
        yield "<h3>Inputs of flakes</h3>"
        yield (
            "<p>A lock file's hash accepts these: "
            "<code>nix flake lock --override-input NAME URL</code></p>"
        )
        inputs = sorted(overview.inputs.values())
        yield from items(
            f"{each.name}: {client.input_url(each.path)}" for each in inputs[:_INPUTS_SHOWN]
        )
        if len(inputs) > _INPUTS_SHOWN:
            yield f'<p class="soft">and {len(inputs) - _INPUTS_SHOWN:,} more in status.json</p>'


def _keys(overview: Overview, client: Client) -> Iterator[str]:
    """Whom a client must trust, and whom its daemon must."""
    yield "<h3>Keys to trust</h3>"
    if client.keys:
        yield (
            "<p>Nix takes from here what a key that it trusts has signed. It knows the key of "
            "cache.nixos.org; the lines below have it trust these, too:</p>"
        )
        yield '<ul class="plain">'
        for key in client.keys:
            own = ["signs what was made here"] if key in client.public_keys else []
            hosts = [host.name for host in overview.hosts if key in host.keys]
            of_hosts = [f"needed for {_named(hosts)}"] if hosts else []
            said = escape("; ".join((*own, *of_hosts)))
            yield f'<li><code>{escape(key)}</code> <span class="soft">{said}</span></li>'
        yield "</ul>"
    else:
        yield "<p>No key but that of cache.nixos.org, which every Nix knows.</p>"
    yield (
        "<p>Where Nix runs as a daemon, it ignores caches and keys that a user names, on the "
        "command line or in a <code>nix.conf</code> of their own, unless that user is root or one "
        "of its <code>trusted-users</code> (who can become root). For everybody else, put the "
        "lines into the machine's <code>/etc/nix/nix.conf</code> and restart the daemon; on NixOS, "
        "into its configuration.</p>"
    )


def _named(hosts: Sequence[str]) -> str:
    """Some hosts, and how many others."""
    names = ", ".join(hosts[:_HOSTS_NAMED])
    left = len(hosts) - _HOSTS_NAMED
    return f"{names} and {number(left, 'other host')}" if left > 0 else names
