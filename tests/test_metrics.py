"""Metrics by hand, against scikit-learn, and their intervals by simulation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import mlp, randn, scrambled, untouched
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as sk

from rlap.data.base import Split
from rlap.metrics import (
    auroc,
    classification,
    detection,
    evaluate,
    told_by,
    wilson,
)
from rlap.training.inference import accuracy


def one_hot(predicted: list[int], classes: int) -> torch.Tensor:
    return torch.eye(classes)[torch.tensor(predicted)]


def test_classification_by_hand():
    # class 0: 2 of 3 found, 2 of 2 right; class 1: 1 of 1 found, 1 of 2 right;
    # class 2 never predicted, so 0
    got = classification(one_hot([0, 0, 1, 1, 3], 4), torch.tensor([0, 0, 0, 1, 2]))
    assert got.accuracy == pytest.approx(3 / 5)
    # labels that occur: 0, 1, 2 (true) and 3 (predicted only)
    assert got.precision == pytest.approx((1 + 1 / 2 + 0 + 0) / 4)
    assert got.recall == pytest.approx((2 / 3 + 1 + 0 + 0) / 4)
    assert got.f1 == pytest.approx((0.8 + 2 / 3 + 0 + 0) / 4)
    assert got.n == 5
    assert set(got.as_dict()) == {"accuracy", "precision", "recall", "f1", "top3", "n"}


def test_equal_logits_are_counted_as_everywhere_else():
    """bfloat16 leaves few digits, and of equal logits topk takes another than argmax:
    the accuracy of a table must not differ from that of the curve beside it."""
    logits = randn(2000, 10).bfloat16().float().round()  # nearly all have equals
    labels = torch.arange(2000) % 10
    found = classification(logits, labels).accuracy
    assert found == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    assert (logits.topk(3, dim=1).indices[:, 0] != logits.argmax(1)).any()


def test_top3_by_hand():
    logits = torch.tensor([[4.0, 3, 2, 1], [1, 2, 3, 4], [1, 9, 8, 7]])
    assert classification(logits, torch.tensor([2, 0, 0])).top3 == pytest.approx(1 / 3)
    two = classification(logits[:, :2], torch.tensor([0, 0, 1]))
    assert two.top3 == 1.0  # fewer than three classes


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 60), classes=st.integers(2, 6))
def test_classification_is_scikit_learns(seed, n, classes):
    logits = randn(n, classes, seed=seed)
    truth = torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))
    got, predicted = classification(logits, truth), logits.argmax(1)
    assert got.accuracy == pytest.approx(sk.accuracy_score(truth, predicted))
    options = {"average": "macro", "zero_division": 0}
    for name in ("precision", "recall", "f1"):
        expected = getattr(sk, f"{name}_score")(truth, predicted, **options)
        assert getattr(got, name) == pytest.approx(expected)
    if classes > 3:
        expected = sk.top_k_accuracy_score(truth, logits, k=3, labels=range(classes))
        assert got.top3 == pytest.approx(expected)


def test_classification_errors():
    logits = randn(4, 3)
    with pytest.raises(ValueError, match="0..2 for 3 classes"):
        classification(logits, torch.tensor([0, 1, 2, 3]))
    with pytest.raises(ValueError, match="3 entries for 4 samples"):
        classification(logits, torch.tensor([0, 1, 2]))
    with pytest.raises(TypeError, match="integers"):
        classification(logits, torch.zeros(4))


def test_evaluate_leaves_the_model_alone():
    net, split = scrambled(mlp(dropout=0.5)), Split(randn(9, 6), torch.arange(9) % 3)
    with untouched(net):
        whole, single = (evaluate(net, split, batch_size=b) for b in (9, 1))
    assert whole == single
    net.eval()
    hits = (net(split.inputs).argmax(1) == split.labels).float().mean().item()
    assert whole.accuracy == pytest.approx(hits)


# --- detection ----------------------------------------------------------------------


def test_a_broken_network_gets_no_score():
    net, split = mlp(), Split(randn(8, 6), torch.arange(8) % 3)
    with torch.no_grad():
        net[-1].weight.fill_(float("nan"))
    for use in (evaluate, accuracy):
        with pytest.raises(ValueError, match="logits holds NaN"):
            use(net, split)


def test_the_interval_of_the_auroc_says_when_it_cannot_tell():
    one = auroc(torch.arange(101.0), torch.arange(101) == 50)
    assert (one.value, one.low, one.high) == (0.5, 0.0, 1.0)
    # of a perfect division, as far as two of two allow
    low, high = wilson(2, 2)
    perfect = auroc(torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.arange(4) > 1)
    assert (perfect.value, perfect.low, perfect.high) == (1.0, low, high)
    assert 0.3 < low < 0.4 and high == 1.0
    turned = auroc(torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.arange(4) < 2)
    assert (turned.value, turned.low) == (0.0, 0.0)
    assert turned.high == pytest.approx(1 - low)


def test_auroc_by_hand():
    # pairs (positive above negative): 3 > 1, 3 > 2, 2 = 2 (half), 2 > 1
    score, truth = torch.tensor([1.0, 2, 2, 3]), torch.tensor([0, 0, 1, 1]).bool()
    assert auroc(score, truth).value == pytest.approx(3.5 / 4)
    # DeLong: placements of the positives (0.75, 1), of the negatives (1, 0.75)
    error = np.sqrt(2 * np.var([0.75, 1], ddof=1) / 2)
    logit, p = np.log(7), 3.5 / 4
    low, high = (
        1 / (1 + np.exp(-(logit + s * 1.959963984540054 * error / (p * (1 - p)))))
        for s in (-1, 1)
    )
    assert auroc(score, truth).low == pytest.approx(low)
    assert auroc(score, truth).high == pytest.approx(high)
    assert auroc(score, truth).low < p < auroc(score, truth).high


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2)
)  # few values: many ties
def test_auroc_is_scikit_learns(values):
    score = torch.tensor([float(v) for v, _ in values])
    truth = torch.tensor([t for _, t in values])
    assume(truth.any() and not truth.all())
    area = auroc(score, truth)
    assert area.value == pytest.approx(sk.roc_auc_score(truth, score))
    assert 0 <= area.low <= area.value <= area.high <= 1
    assert auroc(-score, truth).value == pytest.approx(1 - area.value)
    assert auroc(score.exp(), truth).value == pytest.approx(area.value)


def test_scores_far_from_probabilities():
    """Separable scores in 20..200 are still separable; infinity is only the largest."""
    score = torch.tensor([20.0, 30, 100, 200])
    truth = torch.tensor([False, False, True, True])
    assert auroc(score, truth).value == 1
    assert auroc(score.index_fill(0, torch.tensor(3), torch.inf), truth).value == 1


def test_the_interval_of_the_auroc_covers():
    """400 draws of known area: about 95 % of the intervals hold it."""
    rng = np.random.default_rng(0)
    shift, n = 1.0, 40
    area = 0.7602499389065233  # Phi(1 / sqrt 2)
    truth = torch.arange(2 * n) < n
    covered = 0
    for _ in range(400):
        x = torch.from_numpy(rng.normal(size=2 * n))
        x[:n] += shift
        found = auroc(x, truth)
        covered += found.low <= area <= found.high
    assert 0.92 <= covered / 400 <= 0.98


def test_wilson_is_scipys():
    for n in (1, 2, 10, 167, 12_500):
        for hits in {0, 1, n // 3, n // 2, n - 1, n}:
            expected = binomtest(hits, n).proportion_ci(0.95, method="wilson")
            assert wilson(hits, n) == pytest.approx(tuple(expected), rel=1e-14)


def test_wilson_by_hand():
    # z = 1.96, 8 of 10: centre (0.8 + 0.192) / 1.384, half-width 0.226
    low, high = wilson(8, 10)
    assert (low, high) == (
        pytest.approx(0.4902, abs=1e-4),
        pytest.approx(0.9433, abs=1e-4),
    )
    low, high = wilson(0, 5)
    assert low == pytest.approx(0, abs=1e-12) and high == pytest.approx(
        0.4345, abs=1e-4
    )
    assert wilson(5, 5) == pytest.approx((1 - 0.4345, 1), abs=1e-4)


def test_wilson_holds_the_proportion_exactly():
    """The ends at 0 and 1 were once rounded past it: wilson(0, 3) began at 5.6e-17."""
    for n in range(1, 200, 13):
        assert wilson(0, n)[0] == 0.0 and wilson(n, n)[1] == 1.0
        for hits in range(n + 1):
            low, high = wilson(hits, n)
            assert 0 <= low <= hits / n <= high <= 1


@pytest.mark.parametrize(("hits", "n"), [(0, 0), (-1, 3), (4, 3)])
def test_wilson_errors(hits, n):
    with pytest.raises(ValueError, match="at (least|most)"):
        wilson(hits, n)


def test_detection_by_hand():
    posterior = torch.tensor([0.9, 0.8, 0.6, 0.4, 0.1])
    kept = posterior > 0.5
    corrupted = torch.tensor([False, False, True, False, True])
    got = detection(posterior, kept, corrupted)
    # bad first: 0.1 (c), 0.4, 0.6 (c), 0.8, 0.9: pairs won 3 + 2 of 6
    assert got["auroc"] == pytest.approx(5 / 6)
    assert got["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert got["accuracy"] == pytest.approx(3 / 5)
    assert got["purity"] == pytest.approx(2 / 3)
    assert got["recall_clean"] == pytest.approx(2 / 3)
    assert got["retained"] == 3
    assert got["auroc_low"] < 5 / 6 < got["auroc_high"]


def test_detection_errors():
    x, truth = torch.tensor([1.0, 2, 3]), torch.tensor([True, False, True])
    with pytest.raises(ValueError, match="both positive and negative"):
        auroc(x, torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="both positive and negative"):
        auroc(x, torch.zeros(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="NaN"):
        auroc(torch.tensor([1.0, float("nan"), 2]), truth)
    with pytest.raises(ValueError, match="must both be"):
        auroc(x, truth[:2])
    with pytest.raises(ValueError, match="must both be"):
        auroc(x[:2], truth)
    with pytest.raises(ValueError, match="must both be"):
        auroc(x[:, None], truth[:, None])


def test_what_tells_a_split_by_hand():
    part = torch.tensor([0, 0, 1, 1]).bool()
    assert told_by(torch.tensor([3, 3, 7, 7]), part) == pytest.approx(1)
    finer = torch.tensor([3, 4, 7, 8])
    assert told_by(finer, part) == pytest.approx(1)
    assert told_by(torch.tensor([0, 1, 0, 1]), part) == pytest.approx(0)
    # 3 of 4 agree: 1 - H(1/4) bits of 1 are known when both are halves
    known = torch.tensor([0, 0, 0, 1, 1, 1, 1, 0])
    known_of = 1 + 0.25 * np.log2(0.25) + 0.75 * np.log2(0.75)
    assert told_by(known, torch.arange(8) > 3) == pytest.approx(known_of)
