"""What a destination keeps already: whether it is there, on a list, fresh, and for whom."""
