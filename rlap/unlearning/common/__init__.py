"""What every method and the examiner build on: the data, the start, features."""
