"""Whether targets can be rebuilt without a network: ``check``, ``why`` and ``rehearse``."""
