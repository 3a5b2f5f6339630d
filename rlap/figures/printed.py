"""What a cell prints of nested settings and results: numbers that can be read."""

from __future__ import annotations

import pprint as standard
from collections.abc import Mapping

DIGITS = 4  # of every number that is no count


def pprint(value: object) -> None:
    """Print as ``pprint.pprint`` does, with four digits of every float.

    >>> pprint({"share": 0.6349999904632568, "units": [50, 1e-06]})
    {'share': 0.635, 'units': [50, 1e-06]}
    """
    standard.pprint(rounded(value))


def rounded(value: object) -> object:
    """The same with few digits of every float in it."""
    if isinstance(value, Mapping):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(rounded, value))
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
