"""The paper's own scale at its smallest size: which records count, what they decide."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import made_up
import pytest

from rlap.ledger import differences
from rlap.ledger import rows as ledger
from rlap.ledger.cells import headline, scale_of, setting_of
from rlap.runs.grid import jobs_of

GRIDS = Path(__file__).parents[2] / "grids"
AT = {"tier": "paper", "level": 8.0, "rate": 0.5, "train_size": 12_500}
ARMS = {"continue": 0.68, "initial decayed": 0.74, "retrain decayed": 0.66}
RIVALS = {f"F-FT/{name}": 0.69 for name in ("abs", "rms", "freq", "std")}


def build(folder, *made):
    made_up.save(folder, *made)
    return ledger.build(folder)


def claim(book, key, protocol="released"):
    (row,) = [c for c in book.claims
              if (c.key, c.protocol, c.tier) == (key, protocol, "paper")]  # fmt: skip
    return row


@pytest.mark.parametrize("protocol", ["released", "controlled"])
def test_the_grids_answer_table_1_at_its_smallest_size(protocol):
    jobs = jobs_of([GRIDS / f"paper_scale_{protocol}.yaml"])
    assert len(jobs) == 4
    for job in jobs:
        run = made_up.record(**job.parameters.resolved().identity())
        assert scale_of(run) == "paper" and run["protocol"] == protocol
        assert setting_of(run) == replace(headline(), size=12_500)


def test_every_choice_of_arms_is_filed_the_fullest_first(tmp_path):
    decayed = made_up.seeds(3, ARMS, arms="decayed", **AT)
    fuller = made_up.record(0, {**ARMS, **RIVALS, "F-FT": 0.72},
                            arms="decayed+criteria", **AT)  # fmt: skip
    for name, order in (("a", [*decayed, fuller]), ("b", [fuller, *decayed])):
        book = build(tmp_path / name, *order)
        assert not book.findings
        (tuned,) = [r for r in book.select(table=1, method="f_ft", metric="accuracy")
                    if r.n]  # fmt: skip
        assert (tuned.setting_value, tuned.tier, tuned.test) == (
            "12500", "paper", "value",
        )  # fmt: skip
        assert tuned.seeds == (0, 1, 2) and tuned.values == (0.72, 0.701, 0.702)
        rival = book.select(table=2, method="f_ft", variant="rms", metric="accuracy")
        assert [r.n for r in rival if r.n] == [1]


def test_claims_about_the_headline_are_judged_at_the_largest_size_that_was_run(
    tmp_path,
):
    made = made_up.seeds(3, ARMS, arms="decayed", **AT)
    book = build(tmp_path / "smallest", *made)
    lost = claim(book, "decayed-initial")
    assert (lost.n, lost.verdict) == (3, "contradicted")
    assert lost.reason.startswith("at 12,500 images; ")
    assert claim(book, "do-nothing").verdict == "reproduced"
    assert claim(book, "decayed-retrain").ours == pytest.approx(0.04)
    assert claim(book, "time-epoch").n == 3
    assert claim(book, "gain-10").verdict == "not run"  # over the levels of Table 3
    (effect,) = differences.effects(book.evidence, differences.register()[11])
    assert (effect.tier, effect.setting.size) == ("paper", 12_500)
    full = made_up.seeds(3, {**ARMS, "continue": 0.75}, arms="decayed",
                         **{**AT, "train_size": 50_000})  # fmt: skip
    both = claim(build(tmp_path / "both", *made, *full), "do-nothing")
    assert both.ours == pytest.approx(-0.05) and "images" not in both.reason


def test_smaller_tiers_keep_to_the_headlines_own_size(tmp_path):
    small = {**AT, "tier": "small", "train_size": 3_125}
    book = build(tmp_path, *made_up.seeds(3, ARMS, **small))
    rows = [c for c in book.claims if c.key == "do-nothing" and c.tier == "small"]
    assert {c.verdict for c in rows} == {"not run"}
