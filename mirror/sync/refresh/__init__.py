"""``--refresh``: update inputs and channels, and undo updates that cannot be made ready."""
