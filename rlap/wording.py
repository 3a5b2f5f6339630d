"""Numbers in words: a share in per cent, a difference with its sign."""

from __future__ import annotations

SPACE = "\u00a0"  # between a number and what belongs to it


def fixed(
    value: float, digits: int, *, sign: bool = False, recorded: bool = False
) -> str:
    """A number to so many digits; zero has no sign. ``recorded``: first to the six that
    the records have, so that a tie rounds as one of these does.

    >>> fixed(-0.04, 1), fixed(0.04, 1, sign=True), fixed(0.06, 1, sign=True)
    ('0.0', '0.0', '+0.1')
    >>> fixed(100 * 0.575, 0), fixed(100 * 0.575, 0, recorded=True)
    ('57', '58')
    """
    value = float(f"{value:.6g}") if recorded else value
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    return text if text.strip("+-0.,") else text.lstrip("+-")


def per_cent(share: float, digits: int = 0, *, recorded: bool = False) -> str:
    """0.47 is "47 %", which no line divides; ``recorded`` as for ``fixed``.

    >>> per_cent(0.125, 1)
    '12.5\\xa0%'
    """
    return f"{fixed(100 * share, digits, recorded=recorded)}{SPACE}%"
