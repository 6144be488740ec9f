from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
from rig.patch_scripts import PATCHUTILS_0_3, PATCHUTILS_0_4, old_script, package, script

from mirror.planning.fetchers import fetchpatch
from mirror.planning.fetchers.fixed_outputs import HunkRange, PatchOptions

PLAIN = PatchOptions(git_headers=False)
PREFIXED = replace(PLAIN, strip=3, old_prefix="a/it's/", new_prefix="b/it's/")
EACH = [
    PLAIN,
    replace(PLAIN, git_headers=True),
    PREFIXED,
    replace(PLAIN, relative="src/a b", strip=2),
    replace(PLAIN, excludes=("a b", "*.c", "$x")),
    replace(PLAIN, includes=("src/*",), revert=True),
    replace(PLAIN, hunks=(HunkRange(1, 1), HunkRange(3, None), HunkRange(None, 2))),
    replace(
        PREFIXED, git_headers=True, relative="x", includes=("[ab]?",), hunks=(HunkRange(2, 4),)
    ),
]
"""Every option that fetchpatch has."""


@pytest.mark.parametrize("options", EACH)
def test_each_option_is_read_back(options: PatchOptions) -> None:
    assert fetchpatch.options(script(options), [package(options)]) == options
    encoded = replace(options, base64=True)
    assert fetchpatch.options(script(encoded), ["/nix/store/x", package(options)]) == encoded
    old = replace(options, quotes_names=False)
    assert fetchpatch.options(old_script(old), []) == old


@pytest.mark.parametrize(
    ("found", "instead"),
    [
        ("sort -u", "sort"),
        ("--strip=0", "--strip=x"),
        ("--clean", "--verbose"),
        ("-p1", "-p2"),
        ("lsdiff", "grepdiff"),
        ("cat <", "gunzip <"),
        ("set +e", "set -x"),
        ('mv "$tmpfile" "$out"', 'mv "$tmpfile" "$out2"'),
        ("tmpfile=", "other="),
        ('echo "', 'rm "$out"; echo "'),
    ],
)
def test_a_script_that_does_anything_else_is_not_recognised(found: str, instead: str) -> None:
    text = script(PLAIN)
    assert found in text
    assert fetchpatch.options(text.replace(found, instead), [PATCHUTILS_0_3]) is None


@pytest.mark.parametrize("hunks", ["x1", "2-1", "01", "", "1,,2", "1-2-3", "-#"])
def test_a_range_of_hunks_of_another_form_is_not_recognised(hunks: str) -> None:
    text = script(replace(PLAIN, hunks=(HunkRange(7, 7),)))
    changed = text.replace("-# 7", f"-# {shlex.quote(hunks)}")
    assert fetchpatch.options(changed, [PATCHUTILS_0_3]) is None


@pytest.mark.parametrize("own", ["rm $out", "sed -i s/a/b/ $out", "mv a b", "'"])
def test_further_commands_of_the_package_are_not_recognised(own: str) -> None:
    assert fetchpatch.options(f"{script(PLAIN)}\n{own}\n", [PATCHUTILS_0_3]) is None


@pytest.mark.parametrize(
    "inputs",
    [
        [],
        [PATCHUTILS_0_3.replace("0.3.3", "0.3.4")],
        [PATCHUTILS_0_3, PATCHUTILS_0_4],
        ["patchutils-0.3.3"],
    ],
)
def test_the_patchutils_must_be_one_whose_results_are_known(inputs: list[str]) -> None:
    assert fetchpatch.options(script(PLAIN), inputs) is None


@pytest.mark.parametrize(
    "text", ["", "lsdiff", "tmpfile=$TMPDIR/x", "tmpfile=$TMPDIR/x\nlsdiff $out"]
)
def test_what_is_no_fetchpatch_is_not_recognised(text: str) -> None:
    assert fetchpatch.options(text, [PATCHUTILS_0_3]) is None
