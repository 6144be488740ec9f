"""Fixed outputs without a binary cache: from where upstream publishes them, or by their builder."""
