"""The file of names and passwords for servers, which libcurl reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.errors import RequestError
from mirror.system.plain_files import LARGEST_SECRET, see_plain_file

if TYPE_CHECKING:
    from pathlib import Path


def readable_netrc(path: Path | None) -> Path | None:
    """The same path; None if there is no file, or only others may read it.

    Nix's default is a file that mostly does not exist; often only root may read it.

    Raises:
        RequestError: it is something else than a file of sensible size.

    """
    if path is None:
        return None
    try:
        see_plain_file(path, at_most=LARGEST_SECRET)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RequestError(f"the netrc file {path} cannot be read: {reason}") from None
    return path
