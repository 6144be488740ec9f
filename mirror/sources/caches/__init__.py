"""Binary caches as sources: what each has, whether to believe it, and what they said before."""
