"""``verify --repair``: obtain damaged paths again."""
