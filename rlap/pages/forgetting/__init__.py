"""Forgetting a class: all methods by four signs, the bias alone, the papers' claims."""

from rlap.pages.forgetting import bias, methods, papers

__all__ = ["bias", "methods", "papers"]
