"""The worker protocol: the words, one connection, and how a store is connected to."""
