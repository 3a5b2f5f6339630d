"""What one run of forgetting a class does."""
