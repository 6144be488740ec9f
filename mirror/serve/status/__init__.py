"""What the server says of itself and of what it serves: page, document, metrics."""
