"""One strict examiner for every unlearning method."""
