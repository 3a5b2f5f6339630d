"""Numbers and names as the book writes them."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest

from rlap.experiments.protocol import SPEECH, Protocol
from rlap.ledger.cells import CLAMPED, Setting, headline
from rlap.ledger.summary import Interval
from rlap.pages import words


@pytest.mark.parametrize(
    ("value", "sign", "text"),
    [
        (-2.44, True, "−2.4"),
        (2.45, True, "+2.5"),  # as six digits round it, not as binary does
        (-0.01, True, "0.0"),
        (0.0, True, "0.0"),
        (1234.5, False, "1,234.5"),
        (None, True, ""),
        (math.nan, True, ""),
    ],
)
def test_a_true_minus_and_never_a_signed_zero(value, sign, text):
    assert words.fixed(value, 1, sign=sign) == text


def test_intervals_and_ranges():
    assert words.gap(Interval(-0.024, -0.073, 0.025, 5)) == "−2.4 [−7.3, +2.5]"
    assert words.gap(Interval(0.01, math.nan, math.nan, 1)) == "+1.0"
    assert words.gap(Interval(0.0, 0.0, 0.0, 3)) == "none"
    assert words.gap(Interval(0.0, math.nan, math.nan, 1)) == "none"
    assert words.gap(Interval(1e-5, 0.0, 2e-5, 3)) == "0.0"
    assert words.gap(Interval(0.01, 0.01, 0.01, 3)) == "+1.0 [+1.0, +1.0]"
    assert words.told("at most 1.1e-06 apart") == "at most 1.1·10⁻⁶ apart"
    assert words.accuracy(Interval(0.99, 0.97, 1.01, 3)) == "99.0 [97.0, 100.0]"
    assert words.spread([1.0, 1.0]) == "1.00"  # not "1.00 to 1.00"
    assert words.spread([0.5, 0.6]) == "0.55 (0.50 to 0.60)"
    assert words.spread([]) == "" and words.percent(None) == ""
    assert words.percent(0.52) == "52.0\u00a0%"


def test_sizes_are_the_true_ones_with_the_papers_in_brackets():
    at = headline()
    assert words.images(at, "small") == "12,500 images (paper: 50,000)"
    assert words.images(at, "small/resnet18-16+epochs=20") == words.images(at, "small")
    assert words.images(at, "paper") == "50,000 images"
    assert words.images(headline(SPEECH), "small") == ""
    quarter = Setting(at.dataset, CLAMPED, 0.5, 2.0, 12_500)
    shown = words.setting(quarter, "small")
    assert shown == (
        "3,125 images (paper: 12,500), level 2, 50\u00a0% corrupted"
    )  # fmt: skip
    told = words.told("an area of 0.7; -1.5 [-2, 0] points, a-b")
    assert told == "an AUROC of 0.7; −1.5 [−2, 0] points, a-b"


def test_one_name_for_one_thing():
    assert words.arm("continue") == "continued training"
    assert words.arm("F-FT/none") == "F-FT, nothing pruned"
    assert words.arm("pruned") == "pruned"
    assert words.claim({"unit": "points", "ours": 0.01, "low": 0.0, "high": 0.02}) == (
        "+1.0 [0.0, +2.0] points"
    )
    told = "area 0.7, area under the ROC curve 0.9, -1 less"
    assert words.told(told) == "AUROC 0.7, AUROC 0.9, −1 less"
    nothing = {"unit": "share", "ours": None, "low": None, "high": None}
    assert words.claim(nothing) == "not run"


def test_the_line_below_a_table_names_records_seeds_and_the_command():
    made = [{"seed": s} for s in (0, 1, 2, 4)]
    assert words.made_from(made, ("table1", "labels")) == (
        "4 records, seeds 0, 1, 2, 4 · "
        "rlap sweep grids/table1.yaml grids/labels.yaml -j 2"
    )
    assert words.made_from(made[:3]) == "3 records, seeds 0 to 2 · rlap ledger"
    assert words.made_from(made[:1]) == "1 record, seed 0 · rlap ledger"
    assert words.made_from([]) == "0 records · rlap ledger"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("small", "small"),
        ("paper", "paper"),
        ("small/resnet18-16", "narrow ResNet-18"),
        ("small+epochs=16+finetune_epochs=8", "small (16 + 8 epochs)"),
        ("paper+train_size=3125", "paper (train size 3125)"),
    ],
)
def test_a_scale_is_said_in_words(name, told):
    assert words.scale(name) == told
    assert words.run("released", name) == f"released, {told}"


def test_every_field_of_a_protocol_has_words():
    names = {field.name for field in fields(Protocol)}
    assert set(words.FIELDS) == names
    assert len(set(words.FIELDS.values())) == len(names)
    assert words.change("retrain_epochs=total") == "epochs of retraining: in total"


def test_sentences_of_records_are_put_into_the_books_words():
    told = words.told("controlled, small/resnet18-16: F-FT minus retrain 0.5, small")
    assert told == "controlled, narrow ResNet-18: F-FT minus retraining 0.5, small"
    assert words.told("F-FT minus initial network, 47 %") == (
        "F-FT minus initial network, 47\u00a0%"
    )
