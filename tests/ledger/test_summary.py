"""Intervals, paired differences and tables over hand-made records."""

from __future__ import annotations

import math

import made_up
import pytest

from rlap.experiments.records import RecordError
from rlap.ledger import summary


def record(seed: int, stand_in: bool = False, **accuracy: float) -> dict:
    arms = {
        name: dict.fromkeys(summary.METRICS, 0.0) | {"accuracy": value, "samples": 10}
        for name, value in accuracy.items()
    }
    return {
        "notebook": "01_cifar10",
        "protocol": "controlled",
        "tier": "small",
        "seed": seed,
        "identity": {"id": f"run{seed}"},
        "parameters": {
            "kind": "pair", "rate": 0.4, "level": 8.0, "train_size": 12500,
            "model": "small",
        },
        "data": {"stand_in": stand_in, "name": "cifar10", "n_train": 12500},
        "arms": arms,
    }  # fmt: skip


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


def test_paired_differences_use_the_pairing():
    # gains of 1, 1 and 1 points although the seeds differ by far more
    runs = [record(s, a=0.5 + 0.1 * s, b=0.49 + 0.1 * s) for s in range(3)]
    gain = summary.paired(runs, "a", "b")
    assert gain.mean == pytest.approx(0.01)
    assert gain.high - gain.low == pytest.approx(0, abs=1e-9)
    assert summary.verdict(gain) == "ahead"
    assert summary.verdict(summary.paired(runs, "b", "a")) == "behind"
    assert gain.points() == "+1.0 [+1.0, +1.0]"


def test_verdict_is_inconclusive_when_zero_is_inside_or_one_seed():
    runs = [record(0, a=0.5, b=0.4), record(1, a=0.4, b=0.5), record(2, a=0.5, b=0.45)]
    assert summary.verdict(summary.paired(runs, "a", "b")) == "inconclusive"
    assert summary.verdict(summary.paired(runs[:1], "a", "b")) == "inconclusive"


def test_tables_have_a_row_an_arm_and_the_right_numbers():
    runs = [record(s, retrain=0.5, other=0.6) for s in range(2)]
    table = summary.arms_table(runs)
    assert list(table.index) == ["retrain", "other"]
    assert table.loc["other", "accuracy %"].startswith("60.0")
    assert table.loc["other", "minus retrain, points"].startswith("+10.0")
    assert table.loc["retrain", "verdict"] == ""
    runs[0]["arms"]["other"]["top3"], runs[1]["arms"]["other"]["top3"] = 0.7, 0.8
    more = summary.arms_table(runs, ("f1", "top3"))
    assert more.loc["other", "top3 %"] == "75.0"
    assert more.loc["retrain", "f1 %"] == "0.0"
    rows = summary.tidy(runs)
    scores = [r for r in rows if r["metric"] in summary.METRICS]
    assert len(scores) == 2 * 2 * len(summary.METRICS)
    accuracies = [r["value"] for r in rows if r["metric"] == "accuracy"]
    assert sorted(accuracies) == [0.5, 0.5, 0.6, 0.6]


def test_tidy_tables_have_the_partition_and_the_stages():
    made = made_up.record()
    rows = {(r["arm"], r["metric"]): r["value"] for r in summary.tidy([made])}
    assert rows["partition", "auroc"] == 0.99
    assert rows["attribution", "stage seconds"] == 0.1
    assert set(rows.values()) >= set(made["seconds"].values())


def test_settings_that_only_speech_has_are_kept_apart():
    runs = [record(0, a=0.5), record(0, a=0.6)]
    runs[1]["parameters"]["frames"] = 130
    assert [len(members) for members in summary.group(runs).values()] == [1, 1]


def test_a_repeated_seed_and_stand_in_data_are_refused():
    with pytest.raises(RecordError, match="twice in setting"):
        summary.group([record(0, a=0.5), record(0, a=0.6)])
    with pytest.raises(RecordError, match="stand-in"):
        summary.group([record(0, stand_in=True, a=0.5)])
