"""What several seeds say together: a mean with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from rlap import wording

# as the records have them: a tie rounds the same way
fixed = partial(wording.fixed, recorded=True)
per_cent = partial(wording.per_cent, recorded=True)


@dataclass(frozen=True)
class Interval:
    """Mean of n values with its 95 % interval (Student's t); none below n = 2."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return self.percent()

    def percent(self, digits: int = 1) -> str:
        """ "12.3 [11.0, 13.6]", in percent."""
        mean, low, high = (
            fixed(100 * v, digits) for v in (self.mean, self.low, self.high)
        )
        return mean if self.n < 2 else f"{mean} [{low}, {high}]"

    def points(self, digits: int = 1) -> str:
        """The same with a sign, for differences in percentage points."""
        mean, low, high = (
            fixed(100 * v, digits, sign=True) for v in (self.mean, self.low, self.high)
        )
        return mean if self.n < 2 else f"{mean} [{low}, {high}]"

    def within(self, least: float, most: float) -> Interval:
        """The same, its ends cut to where values can be; coverage is not less."""
        ends = [min(max(v, least), most) for v in (self.low, self.high)]
        return Interval(self.mean, *ends, self.n)


def interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % t interval; ``ValueError`` without values.

    >>> print(interval([0.70, 0.71, 0.72]).percent())
    71.0 [68.5, 73.5]
    """
    if not values:
        raise ValueError("no values to average")
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return Interval(mean, math.nan, math.nan, n)
    half = t_quantile(n - 1) * standard_error(values)
    return Interval(mean, mean - half, mean + half, n)


def standard_error(values: Sequence[float]) -> float:
    """Standard error of the mean of n >= 2 values."""
    mean, n = math.fsum(values) / len(values), len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)


@cache
def t_quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t."""
    from scipy.special import stdtrit  # here: `rlap ledger` need not wait for scipy

    return float(stdtrit(freedom, 0.975))


def p_told(p: float) -> str:
    """A p-value.

    >>> p_told(0.132), p_told(2e-7)
    ('p = 0.132', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def counted(n: int, what: str) -> str:
    """ "1 seed", "3 seeds"."""
    return f"{n:,} {what}" + ("" if n == 1 else "s")
