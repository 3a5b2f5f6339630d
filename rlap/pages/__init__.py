"""What the book shows: numbers in sentences, tables and pictures. Decides nothing."""
