"""``verify``: all that is kept is read again, and what is damaged is had again."""
