"""What the book shows. Decides nothing."""
