"""Whether targets can be rebuilt without a network: said, shown and rehearsed."""
