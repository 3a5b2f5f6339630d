"""Orders of a table's arms: what is printed, and what decides."""

from __future__ import annotations

import made_up
import pytest

from rlap.ledger import orderings
from rlap.ledger import rows as ledger

AT_8 = {"rate": 0.5, "level": 8.0}
HERE = ("released", "small")
# Table 1, full size: F-FT > L-FT > retrain > initial
IN_ORDER = {"F-FT": 0.70, "L-FT": 0.66, "retrain": 0.63, "initial": 0.60}


def judged(folder, table, *made, **wanted):
    """The orders of a table that were run, where the records are."""
    made_up.save(folder, *made)
    evidence = ledger.build(folder).evidence
    found = orderings.orderings(evidence, [HERE], table)
    return [o for o in found if o.verdict != "not run"]


def test_the_printed_orders():
    def printed(table):
        return [orderings.told(chain) for chain in orderings.chains(table)]

    assert printed(1)[0] == "F-FT > L-FT > retraining > initial network"
    assert [len(printed(n)) for n in range(1, 7)] == [3, 9, 8, 5, 5, 1]
    assert "L-FT > F-FT > retraining > initial network" in printed(5)  # at a rate of .2
    assert "F-FT > F-FT (std) > F-FT (abs) > F-FT (rms) > F-FT (freq)" in printed(2)
    with pytest.raises(ValueError, match="no table 7"):
        printed(7)


def test_equal_numbers_impose_no_order():
    (first, *_) = orderings.chains(1)
    one, two, three, four = (cell for (cell,) in first)
    assert orderings.pairs([[one], [two, three], [four]]) == [
        (one, two), (one, three), (two, four), (three, four),
    ]  # fmt: skip
    assert orderings.told([[one], [two, three]]) == "F-FT > L-FT = retraining"


def test_an_order_holds_when_every_neighbour_does(tmp_path):
    (found,) = judged(tmp_path, 1, *made_up.seeds(3, IN_ORDER, **AT_8))
    assert (found.verdict, found.n) == ("reproduced", 3)
    assert (found.setting_value, found.table) == ("50000", 1)


def test_one_neighbour_the_other_way_round_contradicts(tmp_path):
    turned = IN_ORDER | {"L-FT": 0.62}
    (found,) = judged(tmp_path, 1, *made_up.seeds(3, turned, **AT_8))
    assert found.verdict == "contradicted"
    assert found.reason.startswith("L-FT minus retraining -1.0 [")
    assert "F-FT" not in found.reason.replace("L-FT", "")


def test_a_neighbour_that_is_not_sure_decides_nothing(tmp_path):
    made = [
        made_up.record(s, IN_ORDER | {"L-FT": value}, **AT_8)
        for s, value in enumerate((0.62, 0.66, 0.64))
    ]
    (found,) = judged(tmp_path, 1, *made)
    assert found.verdict == "inconclusive" and "L-FT minus retraining" in found.reason
    few = made_up.seeds(2, IN_ORDER, **AT_8)
    (found,) = judged(tmp_path / "few", 1, *few)
    assert found.verdict == "inconclusive" and "a verdict needs 3" in found.reason


def test_a_reversal_has_to_stand_after_correction(tmp_path):
    """1, 1.5 and 2 points the other way round: p = .035, three times that is too much.
    The other pairs are less sure still."""
    by_arm = {
        "F-FT": (0.70, 0.70, 0.70),
        "L-FT": (0.66, 0.70, 0.71),
        "retrain": (0.67, 0.715, 0.73),
        "initial": (0.64, 0.72, 0.70),
    }
    made = [
        made_up.record(s, {arm: by_seed[s] for arm, by_seed in by_arm.items()}, **AT_8)
        for s in range(3)
    ]
    (found,) = judged(tmp_path, 1, *made)
    assert found.verdict == "inconclusive"
    assert "L-FT minus retraining -1.5" in found.reason
    assert "not after Holm's correction (p = 0.105)" in found.reason


def test_criteria_are_ordered_at_each_stage(tmp_path):
    arms = {"F-FT": 0.74, "F-FT/std": 0.73, "F-FT/abs": 0.72, "F-FT/rms": 0.71}
    made = made_up.seeds(3, arms | {"F-FT/freq": 0.70}, **AT_8)
    (found,) = judged(tmp_path, 2, *made)  # the other stages lack the criteria
    assert found.verdict == "reproduced" and "F-FT (std)" in found.printed
