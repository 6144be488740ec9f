"""What is said of a path that no trusted key has signed: who signed it, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.errors import printable
from mirror.planning.refusals import WRONG, Refusal

if TYPE_CHECKING:
    from mirror.formats.path_info import PathInfo


def refusal_of(info: PathInfo, cache: str, *, trusted: frozenset[str]) -> Refusal:
    """Why ``cache`` is not believed about the path; ``trusted`` are the names of trusted keys."""
    signers = tuple(sorted({printable(_key_name(each)) for each in info.signatures}))
    reason = "signed by none of the trusted keys; "
    if not signers:
        reason += "it has no signature"
        hint = (
            f"if you trust everything from {cache}, name it {cache}?trusted=true; "
            "otherwise have its paths signed (nix store sign)"
        )
    elif trusted.issuperset(signers):
        reason += f"its signatures by {', '.join(signers)} do not match it"
        keys = " and ".join(signers)
        hint = f"either the key that is trusted as {keys} is outdated, or {WRONG}"
    else:
        reason += f"its signatures are by {', '.join(signers)}"
        others = [each for each in signers if each not in trusted]
        keys = " or ".join(f"{each}:…" for each in others)
        hint = (
            f"if you trust {' or '.join(others)}, add the public key: --trusted-key {keys} "
            "beside those trusted now, or trusted-public-keys in nix.conf"
        )
    return Refusal(path=info.path, cache=cache, reason=reason, hint=hint, signers=signers)


def _key_name(signature: str) -> str:
    return signature.partition(":")[0]
