"""No credential that a user can write anywhere comes out anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from rig.servers import Reply, Request, Server
from rig.serving import serve_directory

if TYPE_CHECKING:
    from rig.shell import Shell

FLAKE = """{
  inputs.dep = { url = "%(dep)s"; flake = false; };
  outputs = { self, dep }: {
    packages.x86_64-linux.it = derivation {
      name = "it"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo >$out" ];
      text = import dep;
      sources = map (url: derivation {
        name = baseNameOf (builtins.head (builtins.split "[?]" url)); inherit url;
        system = "builtin"; builder = "builtin:fetchurl"; executable = false; unpack = false;
        outputHashAlgo = "sha256"; outputHashMode = "flat";
        outputHash = builtins.hashString "sha256" url;
      }) [ "%(origin)s" "%(secure)s" ];
    };
  };
}
"""
CANARIES = (
    *("flakeuser", "flakequery", "depuser", "depquery", "cacheuser", "s3query"),
    *("origintoken", "originuser", "proxypass", "netrcpass"),
)


def canary(name: str) -> str:
    assert name in CANARIES
    return f"CANARY{name}CANARY"


def found_in(data: bytes, *, besides: tuple[str, ...] = ()) -> set[str]:
    return {each for each in CANARIES if each not in besides and canary(each).encode() in data}


def archive(directory: Path, name: str, files: dict[str, str]) -> None:
    tree = directory / name
    tree.mkdir(parents=True)
    for file, text in files.items():
        (tree / file).write_text(text)
    subprocess.run(
        ["tar", "-czf", str(directory / f"{name}.tar.gz"), "-C", str(directory), name], check=True
    )


async def test_no_credential_comes_out(shell: Shell) -> None:
    web = shell.directory / "web"
    async with Server(web) as server, Server(shell.upstream.cache_directory) as cache:
        arguments: list[bytes] = []

        def look(_: Request, reply: Reply) -> Reply:
            for each in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    arguments.append(each.read_bytes())
            return reply

        server.fault = cache.fault = look

        def url(at: Server, user: str, path: str) -> str:
            return at.url.replace("://", f"://bob:{canary(user)}@") + path

        places = {
            "dep": url(server, "depuser", f"/dep.tar.gz?token={canary('depquery')}"),
            "origin": url(server, "originuser", f"/origin?access={canary('origintoken')}"),
            "secure": f"https://127.0.0.1:1/secure?sig={canary('origintoken')}",
        }
        archive(web, "dep", {"default.nix": '"dep"'})
        archive(web, "flake", {"flake.nix": FLAKE % places})
        flake = url(server, "flakeuser", f"/flake.tar.gz?key={canary('flakequery')}")
        (shell.directory / "hosts.txt").write_text(f"it = {flake}#it\nbad = {flake}#none\n")
        netrc = shell.directory / "netrc"
        netrc.write_text(f"machine 127.0.0.1 login bob password {canary('netrcpass')}\n")
        caches = f"{url(cache, 'cacheuser', '')} s3://bucket?secret={canary('s3query')}"
        config = [
            shell.nix.environment["NIX_CONFIG"],
            f"substituters = {caches}",
            f"trusted-public-keys = {shell.upstream.public_key}",
            f"netrc-file = {netrc}",
        ]
        environment = {
            "NIX_CONFIG": "\n".join(config),
            "https_proxy": f"http://bob:{canary('proxypass')}@127.0.0.1:1",
            "no_proxy": "",
        }
        said = ""
        to, store = ("--to", "cache"), ("--store", shell.evaluation.url)
        sources = (*store, "--no-archives")
        commands = [
            ("plan", "hosts.txt", *to, *sources),
            ("plan", "hosts.txt", *to, *sources, "--json"),
            ("sync", "hosts.txt", *to, *sources, "--keep-going"),
            ("sync", "hosts.txt", *to, *sources, "--keep-going", "--json", "--ask-upstream"),
            ("check", "hosts.txt", *to, *store),
            ("check", "hosts.txt", *to, *store, "--json"),
            ("roots", *to),
            ("roots", *to, "--json"),
            ("why", "--list", "hosts.txt", "it", "origin", *to, *store),
            ("export", "hosts.txt", *sources),
            ("rehearse", "hosts.txt", *to, *store),
        ]
        run = shell.environment(**environment)
        for words in commands:
            # The servers answer while it runs.
            done = await asyncio.to_thread(
                shell.forking.run, words, directory=shell.directory, environment=run
            )
            assert "Traceback" not in done.stderr, done.stderr
            assert not found_in((done.stdout + done.stderr).encode()), (words, done)
            said += done.stdout + done.stderr
        # The failures were told, each with where it was.
        for expected in (
            "origin?access=…",
            "secure?sig=…",
            "flake.tar.gz?key=…",
            "s3://bucket",
            "generation 1",
            "its URL has a password or a token",
        ):
            assert expected in said, said
        netrc.write_text(f"machine 127.0.0.1 {canary('netrcpass')} password x\n")
        done = await asyncio.to_thread(
            shell.forking.run, commands[0], directory=shell.directory, environment=run
        )
        assert done.code == 1
        assert not found_in(done.stderr.encode()), done.stderr
        # A flake's own URL is an argument of Nix: SECURITY.md says so.
        for each in arguments:
            assert not found_in(each, besides=("flakeuser", "flakequery")), each
        assert any(b"nix" in each for each in arguments)

    home = shell.nix.home
    written = [*(shell.directory / "cache").rglob("*"), *home.rglob("prefetch/**/*")]
    files = [each for each in written if each.is_file()]
    assert any(each.parent.name == "runs" for each in files)
    assert any(each.parent.parent.name == "generations" for each in files)
    for file in files:
        assert not found_in(file.read_bytes()), file
    async with serve_directory(shell.directory / "cache") as served:
        for target in ("/", "/status.json", "/metrics", f"/x?token={canary('origintoken')}/../"):
            assert not found_in((await served.ask(target)).body), target
        assert not found_in("\n".join(served.log).encode())
