"""What servers say, or do not, more exactly than that a source failed."""

from mirror.errors import NotAvailableError, TransientError


class MissingError(NotAvailableError):
    """The server answered, and says that it does not have it (404, 403 or 410)."""


class GoneError(MissingError):
    """The server says that there is nothing there (404 or 410), not merely nothing for us."""


class ChangedError(TransientError):
    """The file has changed: the part that was received is useless, and it has to start again."""


class TimedOutError(TransientError):
    """The server was silent, or too slow, for longer than the time limit."""


class CertificateError(NotAvailableError):
    """The server's certificate is not valid."""
