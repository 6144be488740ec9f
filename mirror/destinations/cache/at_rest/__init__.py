"""A cache directory at rest: each of its files, compared with what was written, and repaired."""
