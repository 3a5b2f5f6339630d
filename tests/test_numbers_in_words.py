"""How numbers are written, on the pages of runs and of the ledger."""

import doctest

import pytest

from rlap import wording
from rlap.experiments import telling
from rlap.ledger import summary


def test_the_examples_run():
    result = doctest.testmod(wording)
    assert result.attempted == 5 and not result.failed


def test_runs_and_ledger_write_numbers_by_the_same_functions():
    assert telling.per_cent is wording.per_cent and telling.fixed is wording.fixed
    assert summary.per_cent.func is wording.per_cent
    assert summary.fixed.func is wording.fixed


@pytest.mark.parametrize(
    ("value", "run", "ledger"),
    [(0.52, "52", "52"), (0.575, "57", "58"), (0.145, "14", "14"), (0.0, "0", "0")],
)
def test_a_share_that_is_half_way_stays_as_each_page_has_it(value, run, ledger):
    assert wording.per_cent(value) == f"{run}\u00a0%"
    assert summary.per_cent(value) == f"{ledger}\u00a0%"


def test_differences_to_one_digit():
    signed = [wording.fixed(v, 1, sign=True) for v in (0.04, -0.04, -2.5, 2.5)]
    assert signed == ["0.0", "0.0", "-2.5", "+2.5"]
