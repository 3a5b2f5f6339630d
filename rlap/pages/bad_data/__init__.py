"""What the page on bad data shows."""

from rlap.pages.bad_data import aims, repairs, rivals

__all__ = ["aims", "repairs", "rivals"]
