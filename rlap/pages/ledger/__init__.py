"""The page of the ledger: counts, the claims in words, the margin, every row."""

from rlap.pages.ledger import claims, counts, rows

__all__ = ["claims", "counts", "rows"]
