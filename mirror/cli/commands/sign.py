"""``prefetch sign``: sign what was made here and has no signature."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mirror.cli.options import Json, To
from mirror.cli.running import print_document, run, write_error, write_lines
from mirror.cli.signing_keys import read_key, signing_at
from mirror.destinations.records.vouched import refused_by_clients
from mirror.destinations.registry import open_destination
from mirror.quantities import number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.destinations.capabilities import Signed
    from mirror.errors import DestinationError
    from mirror.formats.signing import PublicKey


def command(
    *,
    to: To = None,
    signing_key: Annotated[
        Path,
        typer.Option(
            "--signing-key",
            metavar="FILE",
            help="Secret key to sign with (see `prefetch key generate`).",
        ),
    ],
    every: Annotated[
        bool,
        typer.Option(
            "--all", help="Also sign what has signatures of earlier keys only; these stay."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be signed; change nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Sign what was made here and has no signature yet.

    This is for cache directories. What upstream has signed is not signed again, unless every
    client would refuse it.
    """
    run(execute(to, signing_key, every=every, dry_run=dry_run, json=json), json=json)


async def execute(to: str | None, key_file: Path, *, every: bool, dry_run: bool, json: bool) -> int:
    """Sign in a cache directory."""
    key = await read_key(key_file)
    async with open_destination(
        to, must_exist=True, exclusive=not dry_run, signing_key=key
    ) as destination:
        signing = signing_at(
            destination,
            "sign in",
            of_store=shlex.join(
                [
                    *("nix", "store", "sign", "--store", destination.name),
                    *("--key-file", str(key_file), "--all"),
                ]
            ),
        )
        passed_over: list[DestinationError] = []
        is_refused = refused_by_clients(
            await destination.generations(passed_over.append), await destination.signers()
        )
        signed = await signing.add(key, again=every, dry_run=dry_run, is_refused=is_refused)
    for error in passed_over:
        write_error(f"passed over: {error.message}\n  {error.hint}")
    report = SignReport(
        signed=signed, key=key.public, destination=destination.name, dry_run=dry_run
    )
    if json:
        print_document("sign", report.document())
    else:
        write_lines(report.lines())
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SignReport:
    """How signing went, or would go."""

    signed: Signed
    key: PublicKey
    destination: str
    dry_run: bool

    def lines(self) -> Iterator[str]:
        """One line for what was signed, one for what else there is."""
        signed = self.signed
        would = "would be " if self.dry_run else ""
        yield (
            f"{number(signed.signed, 'path')} {would}signed with {self.key.name} at "
            f"{self.destination}, {signed.already:,} already had its signature"
        )
        if signed.others:
            others = number(signed.others, "path")
            yield f"{others} signed with earlier keys only; --all signs them, too"

    def document(self) -> dict[str, Any]:
        """``sign --json``."""
        return {
            "destination": self.destination,
            "dry_run": self.dry_run,
            "key": str(self.key),
            "signed": self.signed.signed,
            "already": self.signed.already,
            "earlier_keys_only": self.signed.others,
            "upstream": self.signed.upstream,
        }
