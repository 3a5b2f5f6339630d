"""What many rows say together, by hand; and how verdicts move with the margin."""

from __future__ import annotations

from types import SimpleNamespace

import made_up
import pytest

from rlap.ledger import counts
from rlap.ledger import rows as ledger

AT_8 = {"rate": 0.5, "level": 8.0}


def gain(size, n=3, tier="small"):
    return SimpleNamespace(protocol="released", tier=tier, n=n, detectable=size)


def test_what_each_design_could_have_seen():
    found = counts.seen(
        [gain(0.01), gain(0.03), gain(0.02), gain(0.005, n=5), gain(None, n=1)]
    )
    assert found == [
        {"protocol": "released", "tier": "small", "n": 3, "differences": 3,
         "least": 0.01, "median": 0.02, "most": 0.03, "within": 2},
        {"protocol": "released", "tier": "small", "n": 5, "differences": 1,
         "least": 0.005, "median": 0.005, "most": 0.005, "within": 1},
    ]  # fmt: skip


def test_how_far_single_runs_fall_apart():
    row = SimpleNamespace(protocol="released", tier="small", metric="accuracy",
                          unit="fraction", n=3, values=(0.69, 0.70, 0.71),
                          ours=0.70)  # fmt: skip
    few = SimpleNamespace(**{**vars(row), "n": 2, "values": (0.1, 0.9)})
    time = SimpleNamespace(**{**vars(row), "metric": "time", "unit": "s"})
    (line,) = counts.single_runs([row, few, time])
    assert line["accuracies"] == 1 and line["spread"] == pytest.approx(0.01)
    assert line["apart"] == pytest.approx(1.959964 * 2**0.5 * 0.01)
    # sqrt(.7 * .3 / 10,000) is .00458
    assert line["sampling"] == pytest.approx(1.959964 * 2**0.5 * 0.00458258)


def test_verdicts_move_with_the_margin(tmp_path):
    """F-FT gains surely 3 points, where the paper prints 10.8."""
    made = [
        made_up.record(s, {"F-FT": 0.63 + s / 1000, "initial": 0.60 + s / 1000}, **AT_8)
        for s in range(3)
    ]
    made_up.save(tmp_path, *made)
    book = ledger.build(tmp_path)
    lines = ledger.by_margin(book)
    assert len(lines) == 3 * len(ledger.MARGINS)
    at = {(line["what"], line["margin"]): line for line in lines}
    for what in ("numbers", "differences", "claims"):
        usual = at[what, 0.02]
        assert usual["same"] == usual["of"] > 0 and usual["turned"] == 0
        assert usual["every"] <= min(at[what, m]["same"] for m in ledger.MARGINS)
    f_ft = [r for r in book.select(table=1, method="f_ft", metric="accuracy") if r.n]
    assert [r.verdict for r in f_ft] == ["reproduced"]
    assert at["numbers", 0.05]["turned"] > 0  # 3 points are no gain any more
    assert at["claims", 0.02]["reproduced"] == sum(
        c.verdict == "reproduced" for c in book.claims
    )
