"""Lists: their lines, words and options, and the targets that they name."""
