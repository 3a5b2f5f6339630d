"""The mean of several seeds and its interval, by hand."""

from __future__ import annotations

import doctest
import math
from importlib import import_module
from pkgutil import walk_packages

import pytest

import rlap.ledger
from rlap.ledger import summary


def test_interval_by_hand():
    # mean 2, sd 1, n 3: half width t(0.975, 2) / sqrt(3) = 4.302653 / 1.732051
    found = summary.interval([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.high - 2 == pytest.approx(2.484138, abs=1e-6)
    assert 2 - found.low == pytest.approx(2.484138, abs=1e-6)
    alone = summary.interval([0.5])
    assert alone.percent() == "50.0"
    assert math.isnan(alone.low)
    with pytest.raises(ValueError, match="no values"):
        summary.interval([])


def test_an_interval_in_words():
    found = summary.interval([0.009, 0.010, 0.011])
    assert found.points() == "+1.0 [+0.8, +1.2]"
    assert found.percent(2) == "1.00 [0.75, 1.25]"
    cut = found.within(0.009, 0.011)
    assert (cut.low, cut.high, cut.n) == (0.009, 0.011, 3)
    assert summary.counted(1, "seed") == "1 seed"
    assert summary.counted(1_200, "seed") == "1,200 seeds"


def test_the_examples_of_the_ledger_run():
    walked = walk_packages(rlap.ledger.__path__, "rlap.ledger.")
    found = [doctest.testmod(import_module(module.name)) for module in walked]
    assert sum(result.attempted for result in found) >= 8
    assert not any(result.failed for result in found)


def test_zero_has_no_sign():
    assert summary.interval([-0.0471, 0.0469, -0.0002]).points().startswith("0.0 [")
    assert summary.interval([-0.0003, -0.0002, -0.0001]).points() == "0.0 [0.0, 0.0]"
    assert summary.per_cent(-0.001) == "0\u00a0%"
    assert summary.p_told(0.0009999) == "p < 0.001" and "0.001" in summary.p_told(0.001)
