"""Spoken keywords: recordings or a synthesiser, and their features."""
