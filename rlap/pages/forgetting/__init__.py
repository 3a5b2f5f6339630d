"""Forgetting a class: all methods by four signs, and the papers' claims."""

from rlap.pages.forgetting import methods, papers

__all__ = ["methods", "papers"]
