"""What the page on bad data shows."""
