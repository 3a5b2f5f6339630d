"""The split in two: who is found, who is called good, and when not to trust it."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
import torch
from conftest import randn, untouched
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlap.mixture import SOLVERS
from rlap.partition import (
    NAMED_ABOVE,
    ONE_DIMENSIONAL,
    RULES,
    STARTS,
    DegeneratePartitionWarning,
    believed_above,
    partition,
    sample_scores,
    share_at_bounds,
)

TRUTH = torch.arange(200) < 120  # the good ones of the blobs


def two_blobs(seed: int = 0, apart: float = 3.0, d: int = 5) -> Tensor:
    """(200, d): the first 120 around +apart, the others around 0."""
    return randn(200, d, seed=seed) + apart * TRUTH[:, None]


def test_separable_blobs_are_found_and_the_stronger_is_good():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = partition(two_blobs())
    assert torch.equal(got.high_quality, TRUTH)
    assert torch.equal(got.low_quality, ~TRUTH)
    told = got.diagnostics
    assert (told["high_quality"], told["low_quality"]) == (120, 80)
    assert told["converged"] and told["bimodal"] and told["separation"] > 4
    assert told["named_by"] == "total attribution" and told["warnings"] == []
    assert told["rule"] == "gmm" and told["dropped_units"] == 0
    assert got.posterior.shape == (200,) and got.posterior.dtype == torch.float32


def test_swapped_by_hand():
    got = partition(two_blobs())
    other = got.swapped("a whim")
    assert torch.equal(other.high_quality, got.low_quality)
    assert torch.equal(other.posterior, 1 - got.posterior)
    old, new = got.diagnostics, other.diagnostics
    assert (new["high_quality"], new["low_quality"]) == (80, 120)
    assert new["component"] == 1 - old["component"] and new["named_by"] == "a whim"
    assert old["named_by"] == "total attribution"  # the first one is as it was
    changed = {"high_quality", "low_quality", "component", "named_by"}
    assert {k for k in new if new[k] != old[k]} == changed
    # a rule without a mixture has no component to swap
    plain = partition(TRUTH.float(), rule="trivial").swapped("x")
    assert "component" not in plain.diagnostics


@pytest.mark.parametrize("low", [-1.0, 3.0])
def test_groups_without_spread_are_infinitely_far_apart(low):
    scores = torch.where(TRUTH, 1.0, low)
    found = partition(scores, rule="loss")
    assert torch.equal(found.high_quality, TRUTH if low == 3 else ~TRUTH)
    assert found.diagnostics["separation"] > 1e3


@pytest.mark.parametrize("sign", [1, -1])
def test_quality_names_the_good_cluster_and_nothing_else(sign):
    quality = sign * (TRUTH.float() + 0.1 * randn(200, seed=9))
    plain, named = partition(two_blobs()), partition(two_blobs(), quality=quality)
    assert torch.equal(named.high_quality, TRUTH if sign > 0 else ~TRUTH)
    expected = plain.posterior if sign > 0 else 1 - plain.posterior
    assert torch.allclose(named.posterior, expected, atol=1e-6)
    assert named.diagnostics["named_by"] == "quality"
    assert named.diagnostics["margin_of_naming"] > 1.5
    blind = partition(two_blobs(), quality=randn(200, seed=8))
    assert blind.diagnostics["margin_of_naming"] < 0.5


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), data=st.integers(0, 50))
def test_component_numbers_do_not_matter(seed, data):
    """Any seed of the mixture, hence any numbering: the good side stays the same."""
    got = partition(two_blobs(data, apart=5.0), seed=seed)
    assert torch.equal(got.high_quality, TRUTH)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-6, 1e6))
def test_scale_of_units_and_order_of_samples_do_not_matter(seed, scale):
    x = two_blobs(apart=2.0)
    whole = partition(x)
    generator = torch.Generator().manual_seed(seed)
    factors = scale * (0.1 + torch.rand(5, generator=generator))
    scaled = partition(x * factors, quality=x.sum(1))
    assert torch.allclose(scaled.posterior, whole.posterior, atol=1e-3)
    order = torch.randperm(200, generator=generator)
    mixed = partition(x[order])
    agree = (mixed.high_quality == whole.high_quality[order]).float().mean()
    assert agree > 0.98


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6), n=st.integers(4, 60), d=st.integers(1, 6),
    low=st.floats(0.01, 0.99), high=st.floats(0.01, 0.99),
)  # fmt: skip
def test_posterior_in_range_and_threshold_monotone(seed, n, d, low, high):
    x = randn(n, d, seed=seed)
    kept = []
    for threshold in sorted((low, high)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DegeneratePartitionWarning)
            try:
                got = partition(x, threshold=threshold)
            except ValueError as error:
                assert "puts none" in str(error)
                return
        assert ((got.posterior >= 0) & (got.posterior <= 1)).all()
        assert torch.equal(got.high_quality, got.posterior.double() > threshold) or (
            (got.posterior - threshold).abs().min() < 1e-6
        )
        kept.append(got.high_quality)
    assert (kept[1] <= kept[0]).all()  # a higher threshold keeps a part of it


# --- one score a sample -------------------------------------------------------------


@pytest.mark.parametrize("rule", ONE_DIMENSIONAL)
def test_one_dimensional_rules(rule):
    sign = 1 if ONE_DIMENSIONAL[rule] else -1
    x = sign * (randn(200) + 8 * TRUTH)
    got = partition(x, rule=rule)
    assert torch.equal(got.high_quality, TRUTH)
    assert rule in got.diagnostics["named_by"]
    turned = partition(x, rule=rule, quality=-TRUTH.float())
    assert torch.equal(turned.high_quality, ~TRUTH)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    rule=st.sampled_from(sorted(ONE_DIMENSIONAL)),
    spread=st.sampled_from([0.1, 0.5, 1.0, 3.0, 10.0]),
)
def test_a_better_score_never_means_a_lower_posterior(seed, rule, spread):
    """Even where the bad group is so wide that it reaches beyond the good one."""
    x = torch.where(TRUTH, 10 + randn(200, seed=seed), spread * randn(200, seed=seed))
    x = torch.cat([x, torch.tensor([60.0, -60.0])])
    x = x if ONE_DIMENSIONAL[rule] else -x
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegeneratePartitionWarning)
        got = partition(x, rule=rule)
    order = x.argsort(descending=not ONE_DIMENSIONAL[rule])
    assert (got.posterior[order].diff() >= -1e-6).all()


def test_the_trivial_rule():
    shares = torch.tensor([0.0, 0.1, 0.49, 0.5, 0.51, 0.96])
    got = partition(shares, rule="trivial")
    assert got.high_quality.tolist() == [True] * 3 + [False] * 3
    assert torch.allclose(got.posterior, 1 - shares)
    with pytest.warns(DegeneratePartitionWarning, match="1 high and 5 low"):
        strict = partition(shares, rule="trivial", threshold=0.95)
    assert strict.high_quality.tolist() == [True] + [False] * 5
    with pytest.raises(ValueError, match="shares in"):
        partition(shares + 1, rule="trivial")


def test_share_at_bounds_by_hand():
    x = torch.tensor([[0.0, 1.0, 0.5, 1.0], [1e-9, 0.999, 2.0, -0.0]])
    assert share_at_bounds(x).tolist() == [0.75, 0.25]
    assert share_at_bounds(x.view(2, 1, 2, 2)).tolist() == [0.75, 0.25]


def test_sample_scores_by_hand():
    logits, labels = torch.tensor([[0.0, 2, 1], [3, 0, 0]]), torch.tensor([1, 2])
    got = sample_scores(logits, labels)
    e = np.exp
    p = [e(2) / (1 + e(2) + e(1)), e(3) / (e(3) + 2), 1 / (e(3) + 2)]
    assert got["loss"].tolist() == pytest.approx([-np.log(p[0]), -np.log(p[2])])
    assert got["margin"].tolist() == [1.0, -3.0]
    assert got["confidence"].tolist() == pytest.approx(p[:2])
    with pytest.raises(ValueError, match="0..2 for 3 classes"):
        sample_scores(logits, torch.tensor([1, 3]))


# --- when not to trust it -----------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_one_group_is_flagged(seed):
    with pytest.warns(DegeneratePartitionWarning, match="overlap"):
        got = partition(randn(300, 6, seed=seed))
    assert got.diagnostics["bimodal"] is False
    assert any("overlap" in w for w in got.diagnostics["warnings"])
    with pytest.warns(DegeneratePartitionWarning, match="overlap"):
        partition(randn(300, seed=seed), rule="margin")


@pytest.mark.parametrize(("n", "d"), [(500, 64), (1000, 128), (128, 4)])
@pytest.mark.parametrize("rectified", [False, True])
def test_one_group_is_flagged_in_many_dimensions(n, d, rectified):
    """There a fit cuts one group sharply, too: its separation is above 2.5."""
    x = randn(n, d, seed=1)
    x = (x + 0.5 * randn(n, 1, seed=2)).relu() if rectified else x
    with pytest.warns(DegeneratePartitionWarning, match="overlap"):
        got = partition(x)
    told = got.diagnostics
    assert not told["bimodal"] and told["separation"] < told["believed_above"]


def test_two_groups_are_believed_in_many_dimensions():
    x = randn(1280, 64)
    x[:500] += 1.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert partition(x).diagnostics["bimodal"]


def test_few_samples_tell_nothing():
    apart = randn(40, 2) + 60 * (torch.arange(40) < 20)[:, None]
    with pytest.warns(DegeneratePartitionWarning, match="40 samples are too few"):
        assert not partition(apart).diagnostics["bimodal"]
    assert believed_above(49, 1) is believed_above(1000, 251) is None
    assert believed_above(12_500, 1) == 2.5
    assert believed_above(12_500, 250) == pytest.approx(2.74)
    assert believed_above(128, 4) == believed_above(128, 8) == 3.25


@pytest.mark.parametrize(("n", "d"), [(40, 2), (100, 30)])
def test_too_few_is_said_before_the_fit(n, d, monkeypatch):
    def fit(*args: object, **options: object) -> None:
        raise AssertionError("the fit began")

    # by its module: rlap.partition is the function
    monkeypatch.setattr(sys.modules[partition.__module__], "fit", fit)
    told = pytest.warns(DegeneratePartitionWarning, match=f"{n} samples are too few")
    with pytest.raises(AssertionError, match="began"), told as caught:
        partition(randn(n, d))
    assert caught[0].filename == __file__


def test_scikit_learn_by_name():
    scores, _ = classes_and_noise()
    quality = randn(len(scores), seed=5)
    for rule, x in (("gmm", scores), ("loss", scores.sum(1))):
        told = {"rule": rule, "quality": quality, "start": "best", "seed": 2}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DegeneratePartitionWarning)
            ours, theirs = (partition(x, solver=s, **told) for s in SOLVERS)
        assert torch.equal(ours.high_quality, theirs.high_quality)
        a, b = ours.diagnostics, theirs.diagnostics
        assert a.keys() == b.keys()
        for name, value in b.items():
            close = isinstance(value, float)
            assert a[name] == (pytest.approx(value, rel=1e-3) if close else value), name


def test_a_name_given_by_a_hair_is_flagged():
    x = randn(400, 4)
    x[:200] += 3
    clear = torch.arange(400.0) < 200
    for quality, warned in ((clear.double(), False), (randn(400, seed=3), True)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            told = partition(x, quality=quality).diagnostics
        assert (told["margin_of_naming"] < NAMED_ABOVE) == warned
        assert any("is a guess" in str(w.message) for w in caught) == warned
        assert any("is a guess" in text for text in told["warnings"]) == warned


def test_a_lopsided_split_is_flagged():
    x = randn(200, 3)
    x[:2] += 60
    with pytest.warns(DegeneratePartitionWarning, match="degenerate split: 2 high"):
        partition(x)


def test_no_convergence_is_flagged():
    with pytest.warns(DegeneratePartitionWarning, match="did not converge"):
        got = partition(two_blobs(apart=1.5), max_iter=1)
    assert got.diagnostics["converged"] is False and got.diagnostics["iterations"] == 1
    with pytest.raises(ValueError, match="max_iter"):
        partition(two_blobs(), max_iter=0)


def test_constant_units_are_dropped():
    x = torch.cat([two_blobs(), torch.full((200, 2), 0.3), torch.zeros(200, 1)], 1)
    x = torch.cat([x, torch.full((200, 1), 1e7 / 3)], 1)
    got = partition(x)
    assert got.diagnostics["dropped_units"] == 4
    assert torch.allclose(got.posterior, partition(two_blobs()).posterior, atol=1e-6)


@pytest.mark.parametrize("covariance_type", ["full", "diag", "tied", "spherical"])
def test_covariance_types(covariance_type):
    for start in STARTS:
        got = partition(
            two_blobs(), covariance_type=covariance_type, n_init=2, start=start
        )
        assert torch.equal(got.high_quality, TRUTH)
    x = 8.0 * TRUTH + randn(200)
    one = partition(x, rule="margin", covariance_type=covariance_type)
    assert torch.equal(one.high_quality, TRUTH)


def classes_and_noise(n: int = 600, d: int = 12) -> tuple[Tensor, Tensor]:
    """(n, d) scores of two classes with units of their own, and which half is noisy:
    there all units are nearly silent."""
    noisy, second = torch.arange(n) % 2 == 0, torch.arange(n) < n // 2
    own = second[:, None] == (torch.arange(d) < d // 2)
    scores = torch.where(own, 1.0, 0.2) * (1 + randn(n, d, seed=3))
    return torch.where(noisy[:, None], 0.05, 1.0) * scores, noisy


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_where_the_fit_begins_decides_what_it_finds(covariance_type):
    """From k-means it finds one class, from the total the noise, which fits better."""
    scores, noisy = classes_and_noise()
    agrees, fits = {}, {}
    for start in STARTS:
        got = partition(scores, start=start, covariance_type=covariance_type)
        assert got.diagnostics["start"] == start
        agrees[start] = (got.high_quality == ~noisy).double().mean()
        fits[start] = got.diagnostics["log_likelihood"]
    assert agrees["kmeans"] < 0.8 and agrees["total"] > 0.99
    assert fits["total"] > fits["kmeans"]


def test_the_best_start_is_that_of_the_higher_likelihood():
    scores, noisy = classes_and_noise()
    found = partition(scores, start="best")
    assert found.diagnostics["start"] == "total"
    assert (found.high_quality == ~noisy).double().mean() > 0.99
    for x, rule in ((randn(300, 5, seed=1), "gmm"), (randn(300, seed=2), "loss")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DegeneratePartitionWarning)
            tried = {s: partition(x, rule=rule, start=s) for s in (*STARTS, "best")}
        fits = {s: p.diagnostics["log_likelihood"] for s, p in tried.items()}
        assert fits["best"] == max(fits.values())
        own = tried[tried["best"].diagnostics["start"]]
        assert torch.equal(tried["best"].posterior, own.posterior)


def test_the_number_of_a_component_says_nothing_from_either_start():
    """Or "always component 1" would know the clean part from the order of the start."""
    for start in STARTS:
        parts = [partition(two_blobs(), start=start, seed=seed) for seed in range(8)]
        assert {p.diagnostics["component"] for p in parts} == {0, 1}
        assert all(torch.equal(p.high_quality, TRUTH) for p in parts)


def test_both_starts_agree_where_there_is_one_difference():
    for x, rule in ((two_blobs(), "gmm"), (8.0 * TRUTH + randn(200), "margin")):
        got = partition(x, rule=rule, start="total")
        assert torch.equal(got.high_quality, TRUTH)
    constant = torch.cat([two_blobs(), torch.zeros(200, 1)], 1)
    assert torch.equal(partition(constant, start="total").high_quality, TRUTH)


def test_a_callers_autocast_does_not_make_it_coarse():
    scores, _ = classes_and_noise()
    plain = partition(scores, start="best")
    with torch.autocast("cpu", torch.bfloat16):
        got = partition(scores, start="best")
    assert torch.equal(got.posterior, plain.posterior)
    assert got.diagnostics == plain.diagnostics


def test_global_state_is_left_alone():
    with untouched(torch.nn.ReLU()):
        partition(two_blobs(), n_init=2)


# --- errors -------------------------------------------------------------------------


def test_errors():
    x = two_blobs()
    cases = [
        ((x.index_fill(0, torch.tensor(1), torch.nan),), {}, "NaN or infinite"),
        ((x * torch.inf,), {}, "NaN or infinite"),
        ((x[:, 0],), {}, r"needs scores \(N, d\)"),
        ((x,), {"rule": "loss"}, r"needs scores \(N,\)"),
        ((x.numpy(),), {}, "needs scores"),
        ((torch.ones(50, 3),), {}, "constant"),
        ((torch.ones(50),), {"rule": "loss"}, "constant"),
        ((x[:3],), {}, "3 samples cannot be split"),
        ((x[:0],), {}, "0 samples cannot be split"),
        ((x,), {"rule": "kmeans"}, "unknown rule 'kmeans'.*gmm"),
        ((x,), {"quality": torch.ones(3)}, "quality must be"),
        ((x,), {"quality": torch.full((200,), torch.nan)}, "quality must be"),
        ((x,), {"threshold": 1.5}, "threshold must lie between 0 and 1"),
        ((x,), {"threshold": 1.0}, "puts none of 200 samples into the high"),
        ((x,), {"covariance_type": "round"}, "covariance_type"),
        ((x,), {"start": "first"}, "unknown start 'first'.*best, kmeans, total"),
        ((x,), {"solver": "jax"}, "unknown solver 'jax'.*sklearn, torch"),
        ((x,), {"n_init": 0}, "n_init"),
        ((torch.zeros(9),), {"rule": "trivial"}, "into the low-quality"),
        ((torch.ones(9),), {"rule": "trivial"}, "into the high-quality"),
    ]
    for args, options, message in cases:
        with pytest.raises(ValueError, match=message):
            partition(*args, **options)
    assert set(RULES) == {"gmm", "loss", "margin", "confidence", "trivial"}
