"""Decisions: from a list to a plan, without any I/O."""
