"""What one run of repairing bad data does."""
