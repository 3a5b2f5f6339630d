"""Labels: which are probably wrong, and what is only a mistake of the network."""
