"""Running a command: its event loop, its signals, its errors and exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import os
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from mirror import schemas
from mirror.cli import INTERRUPTED, end_at_once
from mirror.cli.last_resort import as_own, is_interruption
from mirror.errors import DestinationError, PrefetchError
from mirror.masking import without_secrets
from mirror.system.allocation import keep_little
from mirror.system.processes import dismiss_guard

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping

_INTERRUPTED: Final = "interrupted: nothing incomplete is visible; run it again to continue"
_INTERRUPTIONS: Final = (KeyboardInterrupt, asyncio.CancelledError)
_OPEN_FILES: Final = 1 << 16
"""More than paths can be waiting for others at once, each with its NAR in an open file."""


def run(command: Coroutine[None, None, int], *, json: bool = False) -> None:
    """Run a command to its end and exit with its code.

    An error of prefetch is printed with its hint; an interruption (Ctrl-C, SIGTERM) lets
    everything that is open be closed in order first. By now all is imported, and garbage is
    searched for from here on, in what is made from here on. With ``json``, what ends the command
    before it has printed its document is a document, too.
    """
    _Output.has_document = False
    gc.freeze()
    gc.enable()
    _supply_closed_streams()
    _accept_any_text()
    _raise_file_limit()
    keep_little()
    try:
        if signal.getsignal(signal.SIGINT) is end_at_once:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = asyncio.run(_interruptible(command))
    except BrokenPipeError:
        # Whoever read our output has gone.
        _drop_output()
        code = 1
    except (Exception, BaseExceptionGroup, *_INTERRUPTIONS) as error:  # noqa: BLE001
        code = end_by(error, json=json)
    finally:
        dismiss_guard()
    _let_go_of_errors()
    raise typer.Exit(code)


def end_by(error: BaseException, *, json: bool = False) -> int:
    """Say what ended a command, be it foreseen or not; the exit code."""
    if is_interruption(error):
        message, hint, code = _INTERRUPTED, None, INTERRUPTED
        write_error(message)
    else:
        own = as_own(error)
        explain(own)
        message, hint, code = own.message, own.hint, own.exit_code
    if json:
        print_error_document(message, hint, code)
    return code


def write_lines(lines: Iterable[str]) -> None:
    """Write lines of data to standard output, the credentials of URLs left out.

    Raises:
        DestinationError: it takes no more.
        BrokenPipeError: nobody reads it any more.

    """
    write_as_is(without_secrets(line) for line in lines)


def write_as_is(lines: Iterable[str]) -> None:
    """Write lines that have no credentials, or none any more, to standard output.

    Raises:
        DestinationError: it takes no more.
        BrokenPipeError: nobody reads it any more.

    """
    try:
        for line in lines:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _drop_output()
        raise DestinationError(
            f"standard output cannot be written: {error.strerror or error}"
        ) from error


class _Output:
    """What went to standard output: a program that reads it expects one document."""

    has_document = False


def print_document(name: str, members: Mapping[str, Any]) -> None:
    """Print the JSON document of which ``name`` names the schema.

    Raises:
        DestinationError: standard output takes no more.
        BrokenPipeError: nobody reads it any more.

    """
    text = schemas.encode(name, members)
    _Output.has_document = True
    write_as_is([text])


def print_error_document(message: str, hint: str | None, exit_code: int) -> None:
    """Print the document of a command that an error ended, unless it has printed its own.

    Where standard output takes none, standard error has said it.
    """
    if not _Output.has_document:
        error = {"message": message, "hint": hint, "exit_code": exit_code}
        with contextlib.suppress(DestinationError, BrokenPipeError):
            print_document("error", {"error": error})


def write_error(text: str) -> None:
    """Write a line to standard error; if it takes none, there is nobody to tell of that, either.

    The credentials of URLs are left out.
    """
    with contextlib.suppress(OSError):
        sys.stderr.write(without_secrets(text) + "\n")
        sys.stderr.flush()


def explain(error: PrefetchError, about: str | None = None) -> None:
    """Say what went wrong, with what, and what to do about it."""
    label = "error:"
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        label = f"\033[1;31m{label}\033[0m"
    subject = f"{about}: " if about else ""
    write_error(f"{label} {subject}{error.message}")
    if error.hint:
        write_error(f"  {error.hint}")


def _supply_closed_streams() -> None:
    """Put /dev/null where a standard stream is closed, as some daemons start programs.

    Otherwise the next files opened would be the standard streams of every process started here.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - for good
            setattr(sys, name, stream)


def _accept_any_text() -> None:
    """Let standard output escape what its encoding lacks, as standard error does."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _raise_file_limit() -> None:
    """Allow as many open files as the system lets this user have, within reason.

    The usual soft limit of 1,024 is for programs that use select(), which none here does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    # Some systems allow less than they say.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _let_go_of_errors() -> None:
    """Forget what standard error does not take, which Python would fail to write at exit."""
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _drop_output() -> None:
    """Forget what is left to be written: Python must not try to flush it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _interruptible(command: Coroutine[None, None, int]) -> int:
    """Let SIGTERM, which cron and systemd send, end the command as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await command
