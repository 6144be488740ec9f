"""``verify --repair``: what is damaged is had again."""
