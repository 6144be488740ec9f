"""The server's reports about itself and what it serves: page, JSON document, metrics."""
