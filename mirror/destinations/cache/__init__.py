"""A binary cache directory as a destination: what is in it, how it is written, read and tidied."""
