"""The aims of `repair`, from made-up runs: what reaches them and what does not."""

from __future__ import annotations

import pytest

from rlap.ledger.aims import (
    AIMS,
    CAME,
    ON,
    ORACLE,
    REPAIR,
    THRICE,
    Aim,
    gain,
    judge,
    judged,
    seconds,
)

HEARD = "symmetric_exclusive"


def run(seed: int, repair: float, *, kind: str = HEARD, **asked) -> dict:
    """A run where continued training gains two points and the clean part seven."""
    arms = {CAME: 0.6, ON: 0.62, REPAIR: repair, ORACLE: 0.67}
    usual = {"rate": 0.4, "level": None, "memorised": False, "arms": "main"}
    usual |= {"dataset": "cifar10", "model": "small", "kind": kind, "seed": seed}
    return {
        "notebook": "06_bad_data",
        "tier": "small",
        "seed": seed,
        "parameters": usual | asked,
        "data": {"stand_in": False},
        "bad": {"rate": 0.4},
        "diagnosis": {"label rate": [0.37, 0.3, 0.4], "input rate": [0.0, 0.0, 0.1]},
        "told": {"rlap: label": {"auroc": 0.9, "calibration error": 0.06}},
        "shares": {},
        "seconds": {ON: 10.0, REPAIR: 45.0},
        "arms": {name: {"accuracy": value} for name, value in arms.items()},
    }


def found(about: str, *runs: dict):
    """How the aim whose words begin so is judged."""
    return next(j for j in judged(runs) if j.aim.about.startswith(about))


def test_an_aim_is_reached_by_the_mean_of_its_runs():
    told = found("any other class: repair", run(0, 0.64), run(1, 0.66))
    assert told.reached is True and told.found.mean == pytest.approx(0.05)
    assert found("any other class: repair", run(0, 0.63)).reached is False
    assert found("human labels: repair", run(0, 0.64)).reached is None


def test_other_rates_networks_and_data_are_no_part_of_it():
    others = [run(0, 0.9, **asked) for asked in (
        {"rate": 0.2}, {"model": "resnet18"}, {"dataset": "speech_commands"},
        {"memorised": True},
    )]  # fmt: skip
    assert found("any other class: repair", *others).found is None
    stand_in = run(0, 0.9) | {"data": {"stand_in": True}}
    smoke = run(0, 0.9) | {"tier": "smoke"}
    assert found("every setting: repair over continued", stand_in, smoke).found is None


def test_records_that_timed_two_of_three_trainings_are_put_right():
    old = run(0, 0.65)
    old["arms"][THRICE] = {"accuracy": 0.63}
    old["seconds"][THRICE] = 21.0
    new = run(0, 0.65)
    new["arms"][THRICE] = {"accuracy": 0.63, "trainings": 3}
    new["seconds"][THRICE] = 31.0
    assert seconds(old, THRICE) == seconds(new, THRICE) == 31.0
    assert seconds(old, ON) == 10.0


def test_of_every_setting_the_worst_is_told():
    runs = [run(0, 0.70), run(1, 0.70), run(0, 0.61, kind="clean", rate=None)]
    told = found("every setting: repair over continued training", *runs)
    assert told.settings == 2 and told.reached is False
    assert told.found.mean == pytest.approx(-0.01) and told.found.n == 1


def test_a_wide_interval_over_few_runs_denies_nothing():
    spread = [run(seed, 0.6 + 0.1 * (seed % 2)) for seed in range(6)]
    harm = "every setting: repair over the network as it came"
    assert found(harm, *spread[:2]).reached is None
    assert found(harm, *spread[:4]).reached is None
    assert found(harm, *(run(seed, 0.58) for seed in range(5))).reached is False
    assert found(harm, *(run(seed, 0.64) for seed in range(2))).reached is True


def test_of_lower_ends_the_lowest_is_told_and_not_the_lowest_mean():
    harm = "every setting: repair over the network as it came"
    narrow = [run(seed, 0.61, kind="clean", rate=None) for seed in range(5)]
    wide = [run(seed, 0.6 + 0.1 * (seed % 2)) for seed in range(6)]
    told = found(harm, *narrow, *wide)
    assert told.reached is False and told.found.n == 6
    assert told.found.mean == pytest.approx(0.05) and told.found.low < -0.005


def test_what_must_not_be_exceeded_is_told_from_what_must_be_reached():
    share = "every setting of wrong labels: error of the estimated share"
    assert found(share, run(0, 0.6)).reached
    off = run(0, 0.6, dataset="speech_commands")
    off["diagnosis"]["label rate"] = [0.6, 0.5, 0.7]
    told = found(share, run(0, 0.6), off)
    assert told.reached is False and told.found.mean == pytest.approx(0.2)
    calibrated = "every setting of wrong labels: calibration error"
    assert found(calibrated, run(0, 0.6)).reached is False
    least = Aim("", lambda r: True, gain(REPAIR), 0.05)
    most = Aim("", lambda r: True, gain(REPAIR), 0.05, most=True)
    assert judge(least, [run(0, 0.61)]).reached is False
    assert judge(most, [run(0, 0.61)]).reached is True


def test_every_aim_has_its_own_words():
    assert len({aim.about for aim in AIMS}) == len(AIMS)
