"""fetchpatch's patches come without its builder, and real Nix takes them."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rig.patch_scripts import old_script, package, script
from rig.running import run
from rig.servers import Reply, Server

from mirror.formats.hashes import Hash
from mirror.planning.fetchers.fixed_outputs import Patch, PatchOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rig.bench import Bench

    from mirror.nix.command import Nix

# Neither the builder nor patchutils exists: only this program can make it.
EXPRESSION = """
{{
  patch = derivation {{
    name = "fix.patch"; system = "x86_64-linux"; builder = "/no/such/bash";
    outputHashAlgo = "sha256"; outputHash = "{hash}"; outputHashMode = "flat";
    urls = [ "{url}" ]; mirrorsFile = "/none";
    nativeBuildInputs = [ "{package}" ]; postFetch = builtins.readFile ./post-fetch;
    {more}
  }};
}}
"""
DOWNLOAD = b"""From 0123 Mon Sep 17 00:00:00 2001
Subject: [PATCH] Change it

diff --git a/f b/f
index 0123456..789abcd 100644
--- a/f
+++ b/f
@@ -1 +1 @@ int main(void)
-old
+new
--\x20
2.40.1
"""
NORMALISED = b"--- a/f\n+++ b/f\n@@ -1 +1 @@\n-old\n+new\n"
WITH_HEADERS = b"diff --git a/f b/f\nindex 0123456..789abcd 100644\n" + NORMALISED
PLAIN = PatchOptions(git_headers=False)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as started:
        yield started


def write_patch(
    bench: Bench,
    url: str,
    options: PatchOptions,
    expected: bytes,
    *,
    text: str = "",
    more: str = "",
) -> str:
    """A list line for a patch like one of fetchpatch's."""
    (bench.directory / "post-fetch").write_text(text or script(options))
    digest = Hash.of(expected).base16
    expression = EXPRESSION.format(url=url, hash=digest, package=package(options), more=more)
    (bench.directory / "patch.nix").write_text(expression)
    return "patch = ./patch.nix#patch"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (PLAIN, NORMALISED),
        (replace(PLAIN, quotes_names=False), NORMALISED),
        (replace(PLAIN, base64=True), NORMALISED),
        (replace(PLAIN, git_headers=True), WITH_HEADERS),
    ],
    ids=["fetchpatch", "of 2018", "base64", "fetchpatch2"],
)
async def test_a_patch_is_normalised_as_its_builder_would(
    bench: Bench, nix_stable: Nix, server: Server, options: PatchOptions, expected: bytes
) -> None:
    body = base64.encodebytes(DOWNLOAD) if options.base64 else DOWNLOAD
    url = server.on("/commit/0123.patch", Reply(body=body))
    text = script(options) if options.quotes_names else old_script(options)
    line = write_patch(bench, url, options, expected, text=text)
    cache = bench.directory / "cache"
    synced = await bench.sync(nix_stable, line, cache, substituters=(), builder=False)
    assert synced.is_complete
    (fixed,) = synced.plan.fetch
    assert fixed.origin == Patch(urls=(url,), options=options)
    (outcome,) = [each for each in synced.outcomes if each.path == fixed.path]
    assert (outcome.result, outcome.source) == ("stored", url)
    client = bench.empty_store("client")
    realise = ("nix-store", "--realise", synced.plan.targets[0].root)
    trusted = (f"substituters = file://{cache}", "require-sigs = true")
    run(nix_stable, *realise, store=client, config=trusted, offline=True)
    assert client.real(fixed.path).read_bytes() == expected


async def test_structured_attributes_are_read_too(
    bench: Bench, nix_stable: Nix, server: Server
) -> None:
    url = server.on("/p", Reply(body=DOWNLOAD))
    line = write_patch(bench, url, PLAIN, NORMALISED, more="__structuredAttrs = true;")
    cache = bench.directory / "cache"
    synced = await bench.sync(nix_stable, line, cache, substituters=(), builder=False)
    assert synced.is_complete


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>not found</html>", "contains no patch"),
        (DOWNLOAD.replace(b"+new", b"+other"), "expected sha256-"),
    ],
)
async def test_another_patch_is_refused_with_its_reason_before_the_builder_is_asked(
    bench: Bench, nix_stable: Nix, server: Server, body: bytes, reason: str
) -> None:
    url = server.on("/p", Reply(body=body))
    line = write_patch(bench, url, PLAIN, NORMALISED)
    cache = bench.directory / "cache"
    synced = await bench.sync(nix_stable, line, cache, substituters=())
    assert not synced.is_complete
    (outcome,) = [each for each in synced.outcomes if each.result == "failed"]
    reasons = {each.source: each.error for each in outcome.attempts}
    assert reason in reasons[url]
    assert "/no/such/bash" in reasons["builder"]
