"""Shell scripts of the shape that nixpkgs' fetchpatch has for ``postFetch``, old and new.

They work: given ``$out``, ``$TMPDIR`` and the tools they do with a patch what fetchpatch does.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from rig.patchutils import range_text

if TYPE_CHECKING:
    from mirror.planning.fetchers.fixed_outputs import PatchOptions

PATCHUTILS_0_3: Final = f"/nix/store/{'p' * 32}-patchutils-0.3.3"
PATCHUTILS_0_4: Final = f"/nix/store/{'p' * 32}-patchutils-0.4.2"

_CHECK: Final = """
if [ ! -s "$%s" ]; then
  echo "error: the file '$%s' is empty!" 1>&2
  cat "$out" 1>&2
  exit 1
fi
"""


def package(options: PatchOptions) -> str:
    """The patchutils that does it."""
    return PATCHUTILS_0_4 if options.git_headers else PATCHUTILS_0_3


def script(options: PatchOptions) -> str:
    """As of 2025 and later: tools from the PATH, the download decoded first."""
    decode = "base64 -d" if options.base64 else "cat"
    text = f"""
set +e
{decode} < "$out" > "$tmpfile"
if [ $? -ne 0 ] || [ ! -s "$tmpfile" ]; then
    echo 'It cannot be decoded with command "'{shlex.quote(decode)}'"' >&2
    od -A x -t x1z -v -N 128 "$out" >&2
    exit 1
fi
set -e
mv "$tmpfile" "$out"
"""
    return 'tmpfile="$TMPDIR/patch"\n' + _checked("out") + text + _tools(options, "", "")


def old_script(options: PatchOptions) -> str:
    """As of 2018: tools by their paths, no other decoding, names unquoted by xargs."""
    tools = f"{package(options)}/bin/"
    return 'tmpfile="$TMPDIR/0123abcd"' + _checked("out") + _tools(options, f'"{tools}', '"')


def _checked(name: str) -> str:
    return _CHECK % (name, name)


def _tools(options: PatchOptions, before: str, behind: str) -> str:
    def tool(name: str) -> str:
        return f"{before}{name}{behind}"

    listed = "" if options.relative is None else f"-p1 -i {shlex.quote(options.relative)}/'*'"
    delimiter = r"--delimiter='\n'" if options.quotes_names else ""
    prefixes = ""
    if options.old_prefix:
        old, new = shlex.quote(options.old_prefix[2:]), shlex.quote(options.new_prefix[2:])
        prefixes = f"--addoldprefix=a/{old} \\\n --addnewprefix=b/{new} \\\n"
    hunks = ",".join(map(range_text, options.hunks))
    text = f"""
{tool("lsdiff")} \\
  {listed} \\
  "$out" \\
| sort -u | sed -e 's/[*?]/\\\\&/g' \\
| xargs -I{{}} {delimiter} \\
  {tool("filterdiff")} \\
  --include={{}} \\
  --strip={options.strip} \\
  {prefixes} \\
  --clean "$out" > "$tmpfile"
{_checked("tmpfile")}
{tool("filterdiff")} \\
  -p1 \\
  {" ".join(f"-x {shlex.quote(each)}" for each in options.excludes)} \\
  {" ".join(f"-i {shlex.quote(each)}" for each in options.includes)} \\
  {f"-# {shlex.quote(hunks)}" if hunks else ""} \\
  "$tmpfile" > "$out"
{_checked("out")}
"""
    if options.revert:
        text += f"""
{tool("interdiff")} "$out" /dev/null > "$tmpfile"
mv "$tmpfile" "$out"
"""
    return text
