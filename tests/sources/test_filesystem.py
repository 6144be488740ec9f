"""Trees on disk beside what Nix sees of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rig.running import run

from mirror.formats import nar
from mirror.formats.hashes import Hash
from mirror.nix.file_tree import tree

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.nix.command import Nix


def test_a_tree_is_what_nix_sees(any_nix: Nix, tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "empty").mkdir(parents=True)
    (top / "run").write_text("x")
    (top / "run").chmod(0o700)
    (top / os.fsdecode(b"\xff")).write_text("y")
    for number, target in enumerate((b"a/", b"a/./b//c", b"./a", b"/", b"//x", b"..", b"\xff/")):
        os.symlink(target, os.fsencode(top / f"link-{number}"))  # noqa: PTH211 - as it is
    printed = run(any_nix, "nix-hash", "--type", "sha256", str(top)).stdout.strip()
    assert Hash.of(b"".join(nar.serialize(tree(top)))) == Hash.parse(printed, "sha256")
