"""Archives as trees: what fetchzip and its relatives unpack, in memory and on a scratch disk."""
