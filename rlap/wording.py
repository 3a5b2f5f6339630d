"""In words: a share in per cent, a difference with its sign, an object in brief."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

SPACE = "\u00a0"  # between a number and what belongs to it
LONG = 5  # a list of more than so many is told by its ends


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


def brief(value: Any) -> str:
    """An object in a few words: of a tensor its type and shape, of a long list its
    ends and length, of a network its class.

    >>> import torch
    >>> brief(torch.zeros(50_000, 3, 32, 32)), brief([2.20743, 1, 1, 0.9, 0.4, 0.21])
    ('float32 (50000, 3, 32, 32)', '[2.207, ..., 0.21] (6)')
    """
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{k!r}: {brief(v)}' for k, v in value.items())}}}"
    if isinstance(value, list | tuple) and len(value) > LONG:
        return f"[{brief(value[0])}, ..., {brief(value[-1])}] ({len(value)})"
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        inside = ", ".join(map(brief, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside})"
    if isinstance(value, float):
        return f"{value:.4g}"
    if hasattr(value, "named_parameters"):
        return f"<{type(value).__name__}>"
    return repr(value)


def in_brief(self: Any) -> str:
    """``__repr__`` of a dataclass that holds tensors: its fields in brief, without
    those left at a default, so that a cell which ends in one shows a line."""
    told = (
        f"{f.name}={brief(value)}"
        for f in fields(self)
        if f.repr and (value := getattr(self, f.name)) is not f.default
    )
    return f"{type(self).__name__}({', '.join(told)})"
