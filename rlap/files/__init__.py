"""Files: where things live, how they are fetched, written whole, and told apart."""
