"""The lines that a client's settings lack, as its status page has them, and where they go."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from mirror.serve.status.client_setup import Client

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from mirror.sync.probe.probe import Probe

_SUBSTITUTE: Final = "substitute"
_COMMENT: Final = "#"
_RESTART: Final = "systemctl restart nix-daemon"
_REBUILD: Final = "nixos-rebuild switch"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLines:
    """What to add to which ``file``, and what to do then, if that takes something.

    ``trusted_users`` is the line with which the user's own settings would count instead, where the
    daemon ignores them. ``signers`` are those whose public keys are lacking and not known.
    """

    file: Path
    nix_conf: tuple[str, ...]
    nixos: tuple[str, ...]
    is_nixos: bool
    afterwards: str | None
    user: str
    trusted_users: str | None
    signers: tuple[str, ...]
    is_overridden: bool

    @classmethod
    def of(cls, probed: Probe) -> Self:
        """What was found to be lacking."""
        access, lacking = probed.access, probed.lacking
        keys = lacking.keys
        client = Client(url=probed.url, public_keys=keys, priority=0)
        wanted = {
            *(["extra-substituters", "nix.settings.substituters"] if lacking.substituter else []),
            *(["extra-trusted-public-keys", "nix.settings.trusted-public-keys"] if keys else []),
        }
        nix_conf = _among(client.nix_conf, wanted)
        nixos = _among(client.nixos_module, wanted)
        if lacking.substitute:
            nix_conf += (f"{_SUBSTITUTE} = true",)
            nixos += (f"nix.settings.{_SUBSTITUTE} = true;",)
        # Root's are the system's, and a daemon goes by them unless it trusts the user.
        is_system = (os.geteuid() == 0 or not access.is_trusted) and not lacking.is_overridden
        is_nixos = is_system and access.is_generated
        afterwards = None
        if nix_conf and is_nixos:
            afterwards = _REBUILD
        elif nix_conf and is_system and access.has_daemon:
            afterwards = _RESTART
        trusted_users = None
        if lacking and not access.is_trusted:
            trusted_users = f"extra-trusted-users = {access.user}"
            if is_nixos:
                trusted_users = f'nix.settings.trusted-users = [ "root" "{access.user}" ];'
        return cls(
            file=access.system_file if is_system else access.user_file,
            nix_conf=nix_conf,
            nixos=nixos,
            is_nixos=is_nixos,
            afterwards=afterwards,
            user=access.user,
            trusted_users=trusted_users,
            signers=lacking.signers,
            is_overridden=lacking.is_overridden,
        )

    def text(self) -> Iterator[str]:
        """What to do, for people."""
        if self.nix_conf:
            if self.is_overridden:
                yield "the system's settings have it, and your own (or NIX_CONFIG) replace them"
            if self.is_nixos:
                yield "lacking in the NixOS configuration:"
            else:
                yield f"lacking in {self.file}:"
            yield from (f"  {line}" for line in (self.nixos if self.is_nixos else self.nix_conf))
        if self.signers:
            names = ", ".join(self.signers)
            yield (
                f"lacking in {self.file}: the public key of {names}, as extra-trusted-public-keys; "
                "whoever keeps the cache has it"
            )
        if self.afterwards:
            yield f"then run: {self.afterwards}"
        if self.trusted_users:
            yield (
                f"or let {self.user} name caches and keys, which makes {self.user} as powerful as "
                f"root: {self.trusted_users}"
            )


def _among(block: str, wanted: Collection[str]) -> tuple[str, ...]:
    """Those of the lines that set one of the settings, and notes on them."""
    lines = block.splitlines()
    return tuple(
        line
        for line in lines
        if line.partition(" ")[0] in wanted or (wanted and line.startswith(_COMMENT))
    )
