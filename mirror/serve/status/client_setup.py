"""How a client of the server is set up: settings of Nix, and commands, to paste.

What is printed is taken literally by a shell, by ``nix.conf`` and by Nix's language, so each value
is quoted as these have it.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mirror.formats.store_path import StorePath

_COMMENT: Final = "#"

_NIX: Final = "nix --extra-experimental-features nix-command"

CONNECT_SECONDS: Final = 3
"""How long a client waits for a connection; it tries so often as it attempts a download."""

STALLED_SECONDS: Final = 10
"""How long a client waits for more of a file that it began to get."""

DOWNLOAD_ATTEMPTS: Final = 2
"""How often a client tries before it asks its other caches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """How to configure a client for this server.

    ``url`` is that by which whoever asks has reached it; ``public_keys`` are of the keys that sign
    what is made here, the newest last. ``upstream_keys`` are those by which others have signed what
    is kept here, and that no client trusts unless it is told to.
    """

    url: str
    public_keys: tuple[str, ...]
    priority: int
    upstream_keys: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys that a client has to be told."""
        return tuple(dict.fromkeys((*self.public_keys, *self.upstream_keys)))

    @property
    def _keys_of_files(self) -> list[str]:
        """The keys that ``nix.conf`` can have, which takes all after a ``#`` for a comment."""
        return [each for each in self.keys if _COMMENT not in each]

    @property
    def _left_out(self) -> list[str]:
        return [
            f"# only --option can have this key, for the # in its name: {each}"
            for each in self.keys
            if _COMMENT in each
        ]

    def settings(self, keys: Iterable[str]) -> Mapping[str, str]:
        """Settings of Nix, in the order in which they are shown, with these keys to trust.

        A client is never worse off with them when the server is away or fails: it waits a few
        seconds and asks its other caches, or builds.
        """
        trusted = " ".join(keys)
        return {
            "extra-substituters": self.url,
            **({"extra-trusted-public-keys": trusted} if trusted else {}),
            "fallback": "true",
            "connect-timeout": str(CONNECT_SECONDS),
            "stalled-download-timeout": str(STALLED_SECONDS),
            "download-attempts": str(DOWNLOAD_ATTEMPTS),
        }

    @property
    def patience(self) -> int:
        """How many seconds a command of Nix loses when this machine is away."""
        return CONNECT_SECONDS * DOWNLOAD_ATTEMPTS

    @property
    def patience_with_a_halt(self) -> int:
        """How many seconds it loses when this machine takes connections, and sends nothing."""
        return STALLED_SECONDS * DOWNLOAD_ATTEMPTS

    @property
    def nix_conf(self) -> str:
        """Lines for ``nix.conf``."""
        settings = self.settings(self._keys_of_files).items()
        return "\n".join([*(f"{name} = {value}" for name, value in settings), *self._left_out])

    @property
    def nixos_module(self) -> str:
        """The same as a NixOS module; lists there add to those that NixOS itself has."""
        keys = "".join(f" {_nix_string(each)}" for each in self._keys_of_files)
        lines = [f"nix.settings.substituters = [ {_nix_string(self.url)} ];"]
        if keys:
            lines.append(f"nix.settings.trusted-public-keys = [{keys} ];")
        lines += [
            "nix.settings.fallback = true;",
            f"nix.settings.connect-timeout = {CONNECT_SECONDS};",
            f"nix.settings.stalled-download-timeout = {STALLED_SECONDS};",
            f"nix.settings.download-attempts = {DOWNLOAD_ATTEMPTS};",
            *self._left_out,
        ]
        return "\n".join(lines)

    def command(self, wanted: Sequence[StorePath], keys: Iterable[str]) -> str:
        """One command that realises paths from this server, without any configuration.

        ``keys`` are those that vouch for what it takes, and that the client lacks.
        """
        options = " \\\n  ".join(
            f"--option {name} {shlex.quote(value)}" for name, value in self.settings(keys).items()
        )
        return f"nix-store --realise {shlex.join(wanted)} \\\n  {options}"

    def look(self, wanted: Sequence[StorePath], keys: Iterable[str]) -> str:
        """Two lines for a shell: what a machine's settings lack, and what it would do with them.

        A dry run knows derivations only once they are in the store.
        """
        words = shlex.join([self.url, *keys])
        settings = f"{_NIX} show-config | grep -E '^(substituters|trusted-public-keys) = '"
        look = f'{settings} | grep -qwF -- "$each" || echo "lacking: $each"'
        derivations = shlex.join(each for each in wanted if each.is_derivation)
        copy = f"{_NIX} copy --derivation --from {shlex.quote(self.url)} {derivations} && "
        dry_run = f"nix-store --realise --dry-run {shlex.join(wanted)}"
        return f"for each in {words}; do {look}; done\n{copy if derivations else ''}{dry_run}"

    def sources(self) -> str:
        """Settings with which Nix, and the fetchurl of nixpkgs, get sources by their hash."""
        return f"hashed-mirrors = {self.url}/"

    def input_url(self, path: StorePath) -> str:
        """The URL of a flake input."""
        return f"{self.url}/inputs/{path.hash_part}.tar"


_ESCAPED: Final = re.compile(r'["\\]|\$(?={)')


def _nix_string(text: str) -> str:
    """A string of Nix's language."""
    return f'"{_ESCAPED.sub(lambda found: chr(92) + found[0], text)}"'
