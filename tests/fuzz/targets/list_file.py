"""Lists: an error names a place that is in the file; what is accepted has names that differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from fuzz.target import Target as Fuzzed
from fuzz.target import plain
from mirror.errors import ListError
from mirror.planning.lists.list_file import decode_list, parse_list

if TYPE_CHECKING:
    from mirror.planning.lists.targets import Target

_EDITS: Final = {name: Path(f"/edits/{name}.nix") for name in ("hosts", "wifi", "package")}


def _check(data: bytes) -> None:
    try:
        targets = _read(data)
    except ListError as error:
        lines = data.split(b"\n")
        if not 1 <= error.line <= len(lines) or error.column < 1:
            raise AssertionError("a place that is not in the file") from error
        if error.column > len(lines[error.line - 1]) + 1:
            raise AssertionError("a column that is not in the line") from error
        raise
    assert len({target.name for target in targets}) == len(targets)
    for target in targets:
        assert target.budget is None or target.budget > 0
        assert all(edit.file.is_absolute() for edit in target.edits)


def _read(data: bytes) -> list[Target]:
    return parse_list(
        decode_list(data, "a list"), file="a list", directory=Path("/lists"), shipped_edits=_EDITS
    )


TARGET: Final = Fuzzed(
    name="list",
    checking=plain(_check),
    refusals=(ListError,),
    words=(
        *(b" = ", b"=", b"#", b" # ", b"'", b'"', b",", b"level=", b"edits=", b"budget=", b"args="),
        *(b"sources=", b"full=", b"package:", b"./", b"~", b"~x/", b".nix", b".drv", b".#", b"'.'"),
        *(b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\x85", b"\r", b"path:", b"git+file:", b"20G"),
        *(b"1.5Gi", b"0.0", b"\xd9\xa3", b"nixpkgs#"),
    ),
)
