"""Evaluating with the installed Nix, and recording what it takes to evaluate again offline."""
