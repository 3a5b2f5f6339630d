"""What a method that projects tells of a network that it does not suit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rlap.repair.projection import Unprojectable


@contextmanager
def naming(method: str) -> Iterator[None]:
    """An ``Unprojectable`` of the block names the method, and one that does without.

    >>> with naming("sap"):  # doctest: +ELLIPSIS
    ...     raise Unprojectable("no layer can be projected")
    Traceback (most recent call last):
    TypeError: sap does not suit this network: no layer can be projected; ...
    """
    try:
        yield
    except Unprojectable as error:
        raise TypeError(
            f"{method} does not suit this network: {error}; method='ssd' edits layers "
            "of any kind"
        ) from error
