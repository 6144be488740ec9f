"""Evaluating with the installed Nix: what it is handed and says, what it takes to do it again."""
