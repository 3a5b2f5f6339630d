"""The paper's six tables beside ours: every number, the differences and the order."""

from rlap.pages.tables import numbers, pictures

__all__ = ["numbers", "pictures"]
