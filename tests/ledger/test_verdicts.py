"""Each branch of each rule, by numbers made up so that the answer is known."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from rlap.ledger import verdicts
from rlap.ledger.cells import Setting
from rlap.ledger.claims.rules import flat_over, identical_features
from rlap.ledger.verdicts import (
    CONTRADICTED,
    INCONCLUSIVE,
    NOT_RUN,
    Judgement,
    corrected,
    holm,
    judge_above,
    judge_gain,
    judge_none,
    judge_pace,
    judge_value,
)

PRINTED = (0.79995, 0.80005)


def around(mean: float, spread: float) -> list[float]:
    """Three values with this mean and standard deviation: half width 2.484 spread."""
    return [mean - spread, mean, mean + spread]


@pytest.mark.parametrize(
    ("mean", "spread", "verdict"),
    [
        (0.80, 0.004, "reproduced"),  # within .0099
        (0.81, 0.004, "reproduced"),  # .8001 to .8199: inside .82005
        (0.8101, 0.0041, "inconclusive"),  # up to .8203: may differ by more than 2
        (0.80, 0.01, "inconclusive"),  # right on it, but too wide to mean anything
        (0.70, 0.01, "contradicted"),  # .0248 + .02 and one more run .0497: far
        (0.90, 0.01, "contradicted"),
        # mean .7540 to .7639, beyond the margin by .016; one more run .739 to .779
        (0.759, 0.002, "contradicted"),
        # mean .725 to .775, beyond the margin; but one more run reaches .800
        (0.7504, 0.01, "inconclusive"),
    ],
)
def test_value_rule(mean, spread, verdict):
    found = judge_value(around(mean, spread), PRINTED)
    assert found.verdict == verdict, found
    assert found.found.mean == pytest.approx(mean)


def test_the_interval_of_a_single_run_by_hand():
    # t(.975, 2) s sqrt(1 + 1/3) = 4.302653 * .01 * 1.154701
    found = judge_value(around(0.75, 0.01), PRINTED)
    assert found.detectable == pytest.approx(0.0496828, abs=1e-6)
    # with little spread it is the mean's half width and the margin that decide
    found = judge_value(around(0.75, 0.001), PRINTED)
    assert found.detectable == pytest.approx(0.02 + 0.00248414, abs=1e-6)


def test_rounding_widens_the_printed_number():
    values = around(0.80, 0.004)  # .7901 to .8099
    assert judge_value(values, (0.8199, 0.8201)).verdict == "inconclusive"
    assert judge_value(values, (0.81, 0.83)).verdict == "reproduced"  # "0.82"


@pytest.mark.parametrize("rule", [judge_value, judge_gain, judge_none, judge_above])
def test_no_rule_decides_on_few_seeds(rule):
    more = {
        judge_value: (PRINTED,),
        judge_gain: (0.1,),
        judge_none: (),
        judge_above: (0.0, 0.02),
    }[rule]
    assert rule([], *more).verdict == "not run"
    for values in ([0.8], [0.8, 0.8]):
        found = rule(values, *more)
        assert found.verdict == "inconclusive"
        assert "needs 3" in found.reason


@pytest.mark.parametrize(
    ("paper", "mean", "spread", "verdict"),
    [
        (0.10, 0.05, 0.01, "reproduced"),  # .025 to .075
        (0.10, 0.02, 0.004, "reproduced"),  # .010 to .030: small, but a gain
        (0.10, 0.03, 0.02, "inconclusive"),  # holds zero
        (0.10, 0.005, 0.001, "contradicted"),  # .0025 to .0075: surely below 2 points
        (0.10, -0.05, 0.01, "contradicted"),
        (-0.10, -0.05, 0.01, "reproduced"),
        (-0.10, -0.005, 0.001, "contradicted"),
        (-0.10, 0.05, 0.01, "contradicted"),
        (0.01, 0.0, 0.004, "reproduced"),  # within 2 points of zero, as printed
        (-0.01, 0.05, 0.01, "contradicted"),
        (0.01, -0.05, 0.01, "contradicted"),
        (0.01, 0.02, 0.004, "inconclusive"),  # .010 to .030
    ],
)
def test_gain_rule(paper, mean, spread, verdict):
    assert judge_gain(around(mean, spread), paper).verdict == verdict


def test_above_and_its_mirror():
    assert judge_above(around(0.95, 0.01), 0.9, 0.02).verdict == "reproduced"
    assert judge_above(around(0.90, 0.001), 0.9, 0.02).verdict == "contradicted"
    little = around(0.91, 0.001)  # surely above, surely by less than the margin
    assert judge_above(little, 0.9, 0.02).verdict == "reproduced"
    assert judge_above(little, 0.9, 0.02, matters=True).verdict == "contradicted"
    assert judge_above(around(0.91, 0.01), 0.9, 0.02).verdict == "inconclusive"
    assert judge_above(around(-0.1, 0.01), 0.0, 0.02, flip=True).verdict == "reproduced"


def test_pace_is_compared_as_a_factor():
    # the paper's 0.5 of an initial epoch; ours .55 is within a factor 1.2, 2.0 is not
    printed = (0.4999, 0.5001)
    near = judge_pace([0.549, 0.55, 0.551], printed)
    assert near.verdict == "reproduced"
    assert near.found.mean == pytest.approx(0.55, abs=1e-4)
    assert near.found.low < 0.55 < near.found.high
    assert near.detectable > verdicts.FACTOR
    assert judge_pace([1.9, 2.0, 2.1], printed).verdict == "contradicted"
    assert judge_pace([2.0], printed).verdict == "inconclusive"
    assert judge_pace([], printed).verdict == "not run"


def test_a_claim_that_says_always():
    def each(*names):
        return [Judgement(name, "") for name in names]

    assert verdicts.all_of(each("reproduced", "reproduced")) == "reproduced"
    assert verdicts.all_of(each("reproduced", "inconclusive")) == "inconclusive"
    assert verdicts.all_of(each("reproduced", "not run")) == "not run"
    assert verdicts.all_of(each("not run", "contradicted")) == "contradicted"
    assert verdicts.all_of([]) == "not run"


def test_holm_by_hand():
    # 3 x .01, then 2 x .02, then .04 which may not be smaller than what went before
    assert holm([0.02, 0.04, 0.01]) == pytest.approx([0.04, 0.04, 0.03])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_correction_weakens_what_only_just_passed():
    weak = Judgement("reproduced", "surely above", p=0.04)
    strong = Judgement("contradicted", "surely below", p=0.001)
    idle = Judgement("not run", "no records")
    after = corrected([weak, strong, idle])
    assert [j.verdict for j in after] == ["reproduced", "contradicted", "not run"]
    after = corrected([weak, strong, idle, Judgement("inconclusive", "", p=0.5)])
    # three tests: .001 x 3 passes, .04 x 2 = .08 does not
    assert [j.verdict for j in after][:2] == ["inconclusive", "contradicted"]
    assert after[0].p == pytest.approx(0.08)
    assert "Holm" in after[0].reason


def test_p_value_by_hand():
    # t = 2 with 2 degrees of freedom: p = 1 - 2 / sqrt(6)
    assert verdicts.p_value(2.0, 1.0, 3) == pytest.approx(1 - 2 / math.sqrt(6))
    assert verdicts.p_value(0.1, 0.0, 3) == 0
    assert verdicts.p_value(0.0, 0.0, 3) == 1


def half(spread: float) -> float:
    """Half width of the interval of ``around(mean, spread)``: t(.975, 2) / sqrt(3)."""
    return 4.302652729749462 / math.sqrt(3) * spread


TINY = 1e-9  # on either side of a boundary


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("beyond", "verdict"), [(-TINY, True), (TINY, False)])
def test_value_is_reproduced_up_to_the_margin_and_no_further(sign, beyond, verdict):
    """The far end of the interval lies on the margin beyond the rounded number."""
    edge = max(PRINTED) if sign > 0 else min(PRINTED)
    mean = edge + sign * (0.02 - half(0.002) + beyond)
    found = judge_value(around(mean, 0.002), PRINTED)
    assert found.verdict == ("reproduced" if verdict else "inconclusive")


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("spread", [0.001, 0.02])
@pytest.mark.parametrize(("beyond", "verdict"), [(-TINY, False), (TINY, True)])
def test_value_is_contradicted_beyond_margin_and_single_run(
    sign, spread, beyond, verdict
):
    """With little spread the margin decides, with much of it one more run."""
    edge = max(PRINTED) if sign > 0 else min(PRINTED)
    wide = max(half(spread) + 0.02, 2 * half(spread))  # sqrt(3 + 1) half widths
    found = judge_value(around(edge + sign * (wide + beyond), spread), PRINTED)
    assert found.verdict == ("contradicted" if verdict else "inconclusive")
    assert found.detectable == pytest.approx(wide)


@pytest.mark.parametrize(
    ("printed", "mean", "verdict"),
    [
        # half width .002484; a printed gain: zero, then the margin
        (0.1, half(0.001) - TINY, "contradicted"),
        (0.1, 0.02 - half(0.001) - TINY, "contradicted"),
        (0.1, 0.02 - half(0.001) + TINY, "reproduced"),
        (-0.1, -(0.02 - half(0.001) - TINY), "contradicted"),
        (-0.1, -(0.02 - half(0.001) + TINY), "reproduced"),
        # a printed nothing: up to the margin that itself counts as nothing
        (0.02, 0.02 - half(0.001) - TINY, "reproduced"),
        (0.02, 0.02 - half(0.001) + TINY, "inconclusive"),
        (0.02, 0.02 + half(0.001) - TINY, "inconclusive"),
        (0.02, 0.02 + half(0.001) + TINY, "contradicted"),
        (-0.02, -0.02 - half(0.001) - TINY, "contradicted"),
        (-0.02, -0.02 - half(0.001) + TINY, "inconclusive"),
    ],
)
def test_gain_at_each_boundary(printed, mean, verdict):
    assert judge_gain(around(mean, 0.001), printed).verdict == verdict


@pytest.mark.parametrize(
    ("first", "second", "margin"),
    [(0.7954, 0.7754, 0.02), (0.7754, 0.7954, 0.02), (0.5854, 0.5504, 0.035)],
)
def test_a_printed_difference_of_the_margin_itself_is_none(first, second, margin):
    """Floating point makes 0.7954 - 0.7754 more than 0.02 by 2e-17."""
    printed = first - second
    assert abs(printed) > margin
    found = judge_gain(around(0.0, 0.001), printed, margin)
    assert found.verdict == "reproduced"
    assert found.worded().startswith("surely no difference of more than")


def test_a_wide_gain_is_sure_of_its_direction_or_of_nothing():
    wide = 0.02  # half width .0497: the margin is inside
    for sign in (1, -1):
        sure = around(sign * (half(wide) + TINY), wide)
        assert judge_gain(sure, sign * 0.1).verdict == "reproduced"
        unsure = around(sign * (half(wide) - TINY), wide)
        assert judge_gain(unsure, sign * 0.1).verdict == "inconclusive"


def test_the_margin_is_the_callers():
    gains = around(0.03, 0.004)  # .020 to .040
    assert judge_gain(gains, 0.1, 0.02).verdict == "reproduced"
    assert judge_gain(gains, 0.1, 0.05).verdict == "contradicted"
    assert judge_gain(gains, 0.04, 0.05).verdict == "reproduced"  # both are nothing
    assert judge_value(around(0.83, 0.001), PRINTED, 0.04).verdict == "reproduced"
    assert judge_value(around(0.83, 0.001), PRINTED, 0.02).verdict == "contradicted"


def test_alpha_itself_survives_the_correction():
    at, above = (Judgement("reproduced", "", p=p) for p in (0.05, 0.05 + TINY))
    assert corrected([at])[0].verdict == "reproduced"
    assert corrected([above])[0].verdict == "inconclusive"


def test_p_values_of_each_verdict_are_of_what_was_tested():
    values = around(0.03, 0.01)
    error = 0.01 / math.sqrt(3)
    sure = judge_above(values, 0.0, 0.02)
    assert sure.p == pytest.approx(verdicts.p_value(0.03, error, 3))
    short = judge_above(around(-0.03, 0.01), 0.0, 0.02)
    assert short.p == pytest.approx(verdicts.p_value(0.05, error, 3))
    open_ = judge_above(around(0.015, 0.01), 0.0, 0.02)  # the nearer of the two
    assert open_.verdict == "inconclusive"
    assert open_.p == pytest.approx(verdicts.p_value(0.015, error, 3))
    inside = judge_none(around(0.01, 0.001), 0.02)  # as sure as the nearer end
    assert inside.p == pytest.approx(verdicts.p_value(0.01, 0.001 / math.sqrt(3), 3))
    outside = judge_none(around(0.05, 0.001), 0.02)
    assert outside.p == pytest.approx(verdicts.p_value(0.03, 0.001 / math.sqrt(3), 3))


def test_the_columns_of_a_row():
    judged = judge_gain(around(0.1, 0.01), 0.1)
    row = verdicts.tail(judged, family=True)
    assert (row["n"], row["ours"], row["verdict"]) == (3, 0.1, "reproduced")
    assert row["low"] == pytest.approx(0.1 - half(0.01), abs=1e-6)
    assert row["detectable"] == pytest.approx(half(0.01), abs=1e-6)
    assert row["p_holm"] == pytest.approx(judged.p, rel=1e-5)
    one = verdicts.tail(judge_gain([0.1], 0.1), family=True)
    assert (one["n"], one["ours"]) == (1, 0.1)
    assert one["low"] is one["high"] is one["detectable"] is one["p_holm"] is None
    none = verdicts.tail(judge_gain([], 0.1))
    assert none["n"] == 0 and none["ours"] is None and "p_holm" not in none


def test_few_seeds_are_counted_in_words():
    assert judge_above([0.5], 0, 0.02).reason == "one seed; a verdict needs 3"
    assert judge_above([0.5, 0.6], 0, 0.02).reason == "2 seeds; a verdict needs 3"
    assert judge_above([], 0, 0.02).verdict == NOT_RUN


def test_at_the_threshold_itself_nothing_lies_above():
    """Values that do not spread: the interval is the threshold, and no more."""
    assert judge_above([0.0] * 3, 0.0, 0.02).verdict == CONTRADICTED
    assert judge_above([0.25] * 3, 0.25, 0.02).verdict == CONTRADICTED
    assert judge_above([0.25] * 3, 0.25, 0.0).verdict == INCONCLUSIVE


@pytest.mark.parametrize(
    ("values", "from_where"),
    [
        ([0.5, -0.3, 0.4], 0.2),  # above the margin: only "above" is in question
        ([-0.5, 0.3, -0.4], -0.22),  # below the threshold: only "short" is
        ([0.31, -0.29, 0.01], -0.01),  # in between: the smaller p of the two
        ([0.3, -0.3, 0.0], -0.02),
    ],
)
def test_the_p_value_of_what_decides_nothing(values, from_where):
    found = judge_above(values, 0.0, 0.02)
    assert found.verdict == INCONCLUSIVE
    assert found.p == pytest.approx(
        verdicts.p_value(from_where, verdicts.standard_error(values), 3)
    )
    assert 0 < found.p <= 1


# --- rules of claims, on records of nothing but what they read -----------------------


def runs_of(
    records: list[dict] = (), by_setting: dict | None = None
) -> SimpleNamespace:
    """What a rule asks a place for: all records, or a quantity by setting and seed."""
    return SimpleNamespace(all=lambda: list(records), each=lambda *_: by_setting or {})


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([], NOT_RUN),
        ([None, None, None], NOT_RUN),
        ([1e-6, 1e-6], INCONCLUSIVE),
        ([1e-6, 1e-6, None, 1e-6], CONTRADICTED),
        ([1e-6, 1e-6, 0.5], "reproduced"),
        ([1e-6] * 4, CONTRADICTED),
    ],
)
def test_features_are_the_same_in_every_run_or_not(differences, verdict):
    made = [{"seed": i, "identity_difference": v} for i, v in enumerate(differences)]
    assert identical_features(runs_of(made)).verdict == verdict


def test_runs_of_one_seed_are_no_seeds():
    """Four runs of two seeds: of each seed the largest, and no verdict."""
    made = [{"seed": i % 2, "identity_difference": 1e-6 * i} for i in range(1, 5)]
    found = identical_features(runs_of(made))
    assert (found.verdict, found.found.n) == (INCONCLUSIVE, 2)
    assert found.found.mean == pytest.approx(3.5e-6)
    assert found.reason == (
        "largest difference in 4 runs of 2 seeds: 4e-06; a verdict needs 3 seeds"
    )


def test_a_line_through_the_levels_by_hand():
    """0.02 a level over levels 3 to 9: 0.12 from end to end."""
    levels = (3.0, 4.5, 6.0, 7.5, 9.0)
    settings = [Setting("cifar10", "gaussian", 0.5, at, 50_000) for at in levels]
    rising = {
        s: {k: 0.5 + 0.02 * s.level + 0.01 * k for k in range(3)} for s in settings
    }
    found = flat_over(settings, margin=0.02)(runs_of(by_setting=rising))
    assert found.verdict == CONTRADICTED
    assert found.found.mean == pytest.approx(0.12) and found.found.n == 3
    level = {s: {k: 0.5 + 0.01 * k for k in range(3)} for s in settings}
    assert flat_over(settings, margin=0.02)(runs_of(by_setting=level)).verdict == (
        "reproduced"
    )
    few = {s: seeds for s, seeds in rising.items() if s.level > 3}
    found = flat_over(settings, margin=0.02)(runs_of(by_setting=few))
    assert found.verdict == NOT_RUN and "five levels" in found.reason


@pytest.mark.parametrize(
    ("limit", "unit", "told"),
    [
        (0.0, "share", "zero"),
        (0.02, "points", "2 points"),
        (0.08, "points", "8 points"),
        (-0.01, "points", "-1 point"),
        (0.42, "share", "42\u00a0%"),
        (0.9, "", "0.9"),
        (0.02, "correlation", "0.02"),
        (0.1, "ms", "100\u00a0ms"),
        (1.2, "factor", "a factor of 1.2"),
    ],
)
def test_a_limit_is_told_in_its_unit(limit, unit, told):
    assert Judgement("inconclusive", "{limit}", limit=limit).worded(unit) == told


def test_reasons_say_which_limit():
    """The same difference may pass one and not the other, so that each says its own."""
    values = [-0.011, -0.010, -0.009]
    against_none = verdicts.judge_none([-0.03, -0.02, -0.01])
    assert against_none.worded() == (
        "a difference of more than 2 points may be there or not"
    )
    assert judge_above(values, 0.0, 0.0).worded() == "surely below zero"
    assert judge_above(values, 0.0, 0.02).worded() == "surely below 2 points"
    pace = verdicts.judge_faster([0.5, 0.51, 0.52], 1.5)
    assert pace.worded("factor") == (
        "surely no such difference of more than a factor of 1.2"
    )
    assert verdicts.tail(pace, unit="factor")["reason"] == pace.worded("factor")
