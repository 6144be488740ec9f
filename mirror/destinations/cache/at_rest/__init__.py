"""A cache directory at rest: each of its files, read again and compared with what was written."""
