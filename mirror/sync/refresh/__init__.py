"""``--refresh``: inputs and channels looked at anew, and taken back where they do no good."""
