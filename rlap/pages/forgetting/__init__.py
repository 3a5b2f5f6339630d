"""Forgetting a class: all methods by four signs, the bias alone, which seed moves what,
the papers' claims."""

from rlap.pages.forgetting import bias, claims, methods, papers, seeds

__all__ = ["bias", "claims", "methods", "papers", "seeds"]
