"""The mirror's own documents: what is read is written the same, and can be shown.

They lie in directories that others may write to. The first byte of an input chooses the kind.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from fuzz.target import Target, plain
from mirror import quantities
from mirror.destinations.records.generation import MANIFEST
from mirror.destinations.records.receipt import RECEIPT
from mirror.destinations.records.run_record import RUN_RECORD

if TYPE_CHECKING:
    from mirror.destinations.records.documents import Kind

_KINDS: Final[tuple[Kind[Any], ...]] = (MANIFEST, RECEIPT, RUN_RECORD)
_NOW: Final = datetime(2026, 11, 24, tzinfo=UTC)


def _check(data: bytes) -> None:
    kind = _KINDS[data[0] % len(_KINDS) if data else 0]
    value = kind.parse(data[1:])
    written = kind.render(value)
    assert kind.render(kind.parse(written)) == written
    when: datetime = value.finished if kind is RUN_RECORD else value.created
    quantities.moment(when)
    quantities.age(_NOW - when)


TARGET: Final = Target(
    name="documents",
    checking=plain(_check),
    words=(
        *(b"null", b"true", b"[", b"{", b'"', b"\\ud800", b"NaN", b"Infinity", b"1e999", b"-0"),
        *(b"0001-01-01T00:00:00+23:59", b"9999-12-31T23:59:59-23:59", b"9" * 5000, b"[" * 2000),
        b'"version": 1',
    ),
)
