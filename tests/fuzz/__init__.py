"""Fuzzing: whatever bytes come from outside, only the documented errors come out.

``targets/`` has a module for each parser, ``corpus/`` what its inputs start from (made by real Nix
and the usual programs). The tests run a fixed number of mutations from a fixed seed;
``make fuzz SECONDS=600`` runs each target that long, guided by the coverage of the code.
"""
