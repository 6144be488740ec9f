"""Run a command as confined as a systemd unit says, where no systemd runs.

``python -m rig.confined UNIT DIRECTORY COMMAND…``, as root, in a mount namespace of its own: the
file system is read-only but for DIRECTORY, root has no capability, and the kernel refuses what the
unit's SystemCallFilter, RestrictAddressFamilies, RestrictNamespaces, RestrictSUIDSGID and
MemoryDenyWriteExecute refuse, by the same means that systemd takes (seccomp). What a system call
group holds is asked of systemd-analyze. Users, other mounts and /proc stay as they are.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Unit: TypeAlias = dict[str, list[str]]

_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000 | errno.EPERM
_UNKNOWN: Final = 0x00050000 | errno.ENOSYS
_MASKED_EQUAL: Final = 7
_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP = 38, 24
_PROT_WRITE, _PROT_EXEC, _SHM_EXEC = 2, 4, 0o100000
_NAMESPACES: Final = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
_FAMILIES: Final = 64
_SET_ID: Final = (0o4000, 0o2000)
_LAST_CAPABILITY: Final = Path("/proc/sys/kernel/cap_last_cap")


class _Comparison(ctypes.Structure):
    """``struct scmp_arg_cmp``."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


class Filter:
    """What the kernel does with system calls; those that no rule names get ``otherwise``."""

    def __init__(self, otherwise: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(otherwise))

    def rule(self, action: int, call: str, *comparisons: tuple[int, int, int, int]) -> None:
        """Act so on a call; calls that this machine does not have are passed over."""
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:
            return
        given = (_Comparison * len(comparisons))(*(_Comparison(*each) for each in comparisons))
        added = self._library.seccomp_rule_add_array
        code = added(self._context, ctypes.c_uint32(action), number, len(comparisons), given)
        if code != 0:
            raise OSError(-code, f"no rule for {call}")

    def load(self) -> None:
        """Have the kernel hold to it, for good."""
        code = self._library.seccomp_load(self._context)
        if code != 0:
            raise OSError(-code, "the filter cannot be loaded")


def settings(unit: Path) -> Unit:
    """The unit's settings; one that comes again adds to it."""
    found: Unit = {}
    for line in unit.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def calls(groups: str) -> set[str]:
    """All calls of some groups (``@system-service``) and calls, by name."""
    return {call for name in groups.split() for call in _group(name)}


@functools.cache
def _group(name: str) -> frozenset[str]:
    if not name.startswith("@"):
        return frozenset([name])
    shown = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    )
    members = [line.strip() for line in shown.stdout.splitlines()[1:]]
    return frozenset(
        call
        for member in members
        if member and not member.startswith("#")
        for call in _group(member)
    )


def allowed_calls(unit: Unit) -> Filter:
    """SystemCallFilter: nothing else is let through."""
    allowed: set[str] = set()
    for words in unit["SystemCallFilter"]:
        if words.startswith("~"):
            allowed -= calls(words[1:])
        else:
            # systemd always adds what a process needs to start and to end.
            allowed |= calls(f"@default execve exit exit_group {words}")
    made = Filter(_REFUSE)
    for call in allowed:
        made.rule(_ALLOW, call)
    return made


def refused_arguments(unit: Unit) -> Filter:
    """What depends on a call's arguments."""
    made = Filter(_ALLOW)
    for call, argument, bits in _refused(unit):
        made.rule(_REFUSE, call, (argument, _MASKED_EQUAL, bits, bits))
    if unit["RestrictNamespaces"] == ["true"]:
        made.rule(_REFUSE, "setns")
        # Its flags are in memory, where no filter sees them; who gets this answer takes clone.
        made.rule(_UNKNOWN, "clone3")
    (families,) = unit["RestrictAddressFamilies"]
    known = {int(getattr(socket, name)) for name in families.split()}
    for family in set(range(_FAMILIES)) - known:
        made.rule(_REFUSE, "socket", (0, _MASKED_EQUAL, 0xFFFFFFFF, family))
    return made


def _refused(unit: Unit) -> Iterator[tuple[str, int, int]]:
    """Calls that are refused where the bits are set in the argument."""
    if unit["MemoryDenyWriteExecute"] == ["true"]:
        yield "mmap", 2, _PROT_WRITE | _PROT_EXEC
        yield "mprotect", 2, _PROT_EXEC
        yield "pkey_mprotect", 2, _PROT_EXEC
        yield "shmat", 2, _SHM_EXEC
    if unit["RestrictNamespaces"] == ["true"]:
        for flag in _NAMESPACES:
            yield "unshare", 0, flag
            yield "clone", 0, flag
    if unit["RestrictSUIDSGID"] == ["true"]:
        for mode in _SET_ID:
            yield "chmod", 1, mode
            yield "fchmod", 1, mode
            yield "fchmodat", 2, mode
            yield "mkdir", 1, mode


def give_up_capabilities() -> None:
    """Be root without any privilege, for good."""
    library = ctypes.CDLL(None, use_errno=True)
    for capability in range(int(_LAST_CAPABILITY.read_text()) + 1):
        if library.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "a capability cannot be given up")
    if library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs cannot be set")


def main() -> None:
    unit, directory, *command = sys.argv[1:]
    for mount in (
        ["--make-rprivate", "/"],
        ["--bind", directory, directory],
        ["-o", "remount,bind,ro", "/"],
    ):
        subprocess.run(["mount", *mount], check=True)
    said = settings(Path(unit))
    filters = [refused_arguments(said), allowed_calls(said)]
    give_up_capabilities()
    for each in filters:
        each.load()
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
