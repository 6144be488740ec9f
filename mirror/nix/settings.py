"""The settings of the installed Nix that prefetch follows.

They are what Nix itself says after it has read its files and its environment, so whatever a user
has configured (caches, keys, passwords) is used without being configured twice.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mirror.errors import ToolError

if TYPE_CHECKING:
    from mirror.nix.command import Nix

_RENAMED: Final = (2, 20, 0)
"""From here on it is ``nix config show``; the old name is deprecated."""
_ANY_PLATFORM: Final = "builtin"
"""What Nix calls the platform of builders that are part of itself."""
_LOADING_CODE: Final = ("plugin-files", "allow-unsafe-native-code-during-evaluation")
"""With these, evaluating Nix code can run any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NixSettings:
    """What Nix's settings of the same names say.

    ``store`` is the URL of the store that Nix uses by itself. ``always_allow_substitutes`` is
    False for a Nix that has no such setting (before 2.19). The two times are in seconds. Of
    ``access_tokens`` only the names are known here: hosts, or hosts with a path. A Nix before 2.19
    does not tell ``ssl_cert_file``. ``fingerprint`` stands for all settings, also those that are
    not here; it is None where a pure evaluation need not be pure, or where it is not known.
    """

    substituters: tuple[str, ...]
    trusted_public_keys: tuple[str, ...]
    require_sigs: bool
    netrc_file: Path
    hashed_mirrors: tuple[str, ...]
    always_allow_substitutes: bool
    system: str
    extra_platforms: tuple[str, ...]
    store: str
    narinfo_cache_positive_ttl: float
    narinfo_cache_negative_ttl: float
    access_tokens: frozenset[str] = frozenset()
    ssl_cert_file: Path | None = None
    trusted_substituters: tuple[str, ...] = ()
    trusted_users: tuple[str, ...] = ()
    substitute: bool = True
    fingerprint: str | None = None

    def unbuildable(self, platform: str) -> str | None:
        """Why this machine does not build for a platform by itself: ``for …``; None if it does."""
        platforms = {self.system, *self.extra_platforms}
        if platform in {*platforms, _ANY_PLATFORM}:
            return None
        return f"for {platform}, and this machine builds for {', '.join(sorted(platforms))}"


async def read_settings(nix: Nix) -> NixSettings:
    """Ask Nix for its settings.

    Raises:
        ToolError: Nix does not tell, for instance because its settings are not valid.

    """
    show = ["config", "show"] if nix.version >= _RENAMED or nix.lix else ["show-config"]
    completed = await nix.run(["nix", *show, "--json"])
    if completed.returncode != 0 and nix.lix:
        show = ["show-config"]  # of earlier ones
        completed = await nix.run(["nix", *show, "--json"])
    try:
        if completed.returncode != 0:
            raise ToolError(f"Nix does not report its settings: {completed.error_text}")
        settings: dict[str, Any] = json.loads(completed.stdout)
        return NixSettings(
            substituters=tuple(settings["substituters"]["value"]),
            trusted_public_keys=tuple(settings["trusted-public-keys"]["value"]),
            require_sigs=settings["require-sigs"]["value"],
            netrc_file=Path(settings["netrc-file"]["value"]),
            hashed_mirrors=tuple(settings["hashed-mirrors"]["value"]),
            always_allow_substitutes=settings.get("always-allow-substitutes", {"value": False})[
                "value"
            ],
            system=settings["system"]["value"],
            extra_platforms=tuple(settings["extra-platforms"]["value"]),
            store=settings["store"]["value"],
            narinfo_cache_positive_ttl=settings["narinfo-cache-positive-ttl"]["value"],
            narinfo_cache_negative_ttl=settings["narinfo-cache-negative-ttl"]["value"],
            access_tokens=frozenset(settings["access-tokens"]["value"]),
            ssl_cert_file=_path(settings.get("ssl-cert-file", {}).get("value")),
            trusted_substituters=tuple(settings["trusted-substituters"]["value"]),
            trusted_users=tuple(settings["trusted-users"]["value"]),
            substitute=settings["substitute"]["value"],
            fingerprint=_fingerprint(settings),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ToolError(
            f"`nix {' '.join(show)} --json` of {nix.full_name} prints something unexpected:"
            f" {type(error).__name__} {error}"
        ) from error


async def read_system_settings(nix: Nix) -> NixSettings:
    """Ask Nix for its settings without those of the user's own: what a daemon goes by.

    A daemon may have been started with more of them in its environment, which nobody else sees.

    Raises:
        ToolError: Nix does not tell.

    """
    environment = {**nix.environment, "NIX_USER_CONF_FILES": "", "NIX_CONFIG": ""}
    return await read_settings(replace(nix, environment=environment))


def _fingerprint(settings: dict[str, Any]) -> str | None:
    values = {name: each["value"] for name, each in settings.items()}
    # Nix tells here how its new commands evaluate, whatever its files say.
    if not values.get("pure-eval") or any(values.get(name) for name in _LOADING_CODE):
        return None
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
