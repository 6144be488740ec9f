"""What servers say, or do not, more exactly than that a source failed."""

from mirror.errors import NotAvailableError, TransientError


class MissingError(NotAvailableError):
    """The server answered, and says that it does not have it (404, 403 or 410)."""


class GoneError(MissingError):
    """The server says that there is nothing there (404 or 410), not merely nothing for us."""


class ChangedError(TransientError):
    """The file is another one now: what came of it cannot be completed, and is to be had anew."""


class TimedOutError(TransientError):
    """The server was silent, or too slow, for as long as one waits."""


class CertificateError(NotAvailableError):
    """Nobody who is trusted vouches that the server is the one that was asked."""
