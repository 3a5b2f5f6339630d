"""Which units react to the low-quality part: by hand, by NumPy, and planted ones."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import torch
from conftest import randn, untouched
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rlap.sensitivity import CRITERIA, regression, sensitivity, top_units

# the package's function of that name hides the module
module = import_module("rlap.sensitivity")

LOW = torch.tensor([True, True, False, False])
#                    unit 0   unit 1
A = torch.tensor([[1.0, -1.0], [3, 2], [2, 4], [-2, 0]])


def lstsq(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    design = np.column_stack([x, np.ones(len(x))])
    return np.linalg.lstsq(design, y, rcond=None)[0][:-1]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6), d=st.integers(1, 12), extra=st.integers(3, 80),
    chunk=st.integers(1, 50), scale=st.floats(1e-3, 1e3), shift=st.floats(-50, 50),
)  # fmt: skip
def test_regression_is_numpys_least_squares(seed, d, extra, chunk, scale, shift):
    n = 2 * d + extra
    units = (1 + torch.rand(d, generator=torch.Generator().manual_seed(seed))) * scale
    x = (randn(n, d, seed=seed).double() + shift) * units
    y = torch.arange(n) % 3 == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        got = regression(x, y)
        scaled = regression(x, y, standardise=True)
    expected = lstsq(x.numpy(), y.double().numpy())
    assert np.allclose(got * units, expected * units.numpy(), atol=1e-8)
    deviations = x.numpy().std(0)
    assert np.allclose(scaled, expected * deviations, atol=1e-8)
    signed = sensitivity(x, y, absolute=False)
    assert np.allclose(signed * units, expected * units.numpy(), atol=1e-8)
    assert torch.equal(sensitivity(x, y), signed.abs())


def test_regression_by_hand():
    # x = 0, 1, 2, 3 and y = 0, 0, 1, 1: covariance 0.5, variance 1.25
    x, y = torch.arange(4.0)[:, None], torch.tensor([False, False, True, True])
    assert regression(x, y).tolist() == pytest.approx([0.4])
    assert sensitivity(-x, y, absolute=False).tolist() == pytest.approx([-0.4])
    scaled = sensitivity(x, y, standardise=True)
    assert scaled.tolist() == pytest.approx([0.4 * np.sqrt(1.25)])


def test_collinear_units_share_their_slope():
    x = randn(300, 3)
    y = x[:, 0] + 0.1 * randn(300, seed=1) > 0.4
    single = regression(x, y)
    doubled = regression(torch.cat([x, x[:, :1]], 1), y)
    assert torch.allclose(doubled[0], doubled[3])
    assert torch.allclose(doubled[0] * 2, single[0], atol=1e-8)
    assert torch.allclose(doubled[1:3], single[1:3], atol=1e-8)
    more_units_than_samples = regression(randn(10, 40), torch.arange(10) % 2 == 0)
    assert more_units_than_samples.isfinite().all()
    assert more_units_than_samples.abs().max() < 10


def test_units_equal_but_for_rounding_share_it_too():
    """Their difference is rounding: a slope on it would be as large as it is empty."""
    x = randn(300, 3)
    y = x[:, 0] + 0.1 * randn(300, seed=1) > 0.4
    nearly = torch.cat([x, x[:, :1] + 1e-7 * randn(300, 1, seed=2)], 1)
    assert torch.allclose(
        regression(nearly, y), regression(torch.cat([x, x[:, :1]], 1), y), atol=1e-5
    )


@pytest.mark.parametrize("value", [0.0, 0.3, -1e4 / 3, 1e6])
@pytest.mark.parametrize("chunk", [7, 4096])
def test_a_unit_that_never_moves_has_no_slope(value, chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", chunk)
    x = randn(500, 4)
    y = x[:, 1] > 0.2
    dead = torch.cat([x, torch.full((500, 1), value)], 1)
    for standardise in (True, False):
        got = regression(dead, y, standardise=standardise)
        assert got[4] == pytest.approx(0, abs=1e-9)
        expected = regression(x, y, standardise=standardise)
        assert torch.allclose(got[:4], expected, atol=1e-8)


def test_planted_noise_units_are_found_and_the_class_target_misses_them():
    """40 of 256 units react to noise; the others code ten classes (audit item 7)."""
    n, d, planted = 4000, 256, 40
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (n,), generator=generator)
    noisy = torch.rand(n, generator=generator) < 0.5
    z = randn(n, d) + 2 * randn(10, d, seed=1)[labels]
    units = torch.randperm(d, generator=generator)[:planted]
    z[:, units] = randn(n, planted, seed=2) + 1.5 * noisy[:, None]
    planted_set = set(units.tolist())
    right = top_units(sensitivity(z, noisy), planted)
    assert set(right.tolist()) == planted_set
    # as released: the flag of training sample number y instead of the sample's own
    by_class = noisy[labels]
    wrong = top_units(sensitivity(z, by_class), planted)
    assert len(planted_set & set(wrong.tolist())) < 12


def test_units_that_are_dead_on_one_side_by_hand():
    """The released ratio divides by the retain set's statistic plus 1e-8."""
    a = torch.tensor([[2.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
    low = torch.tensor([True, True, False])
    for criterion, first in (("abs", 2e8), ("rms", 2e8), ("freq", 1e8), ("std", 0.0)):
        got = sensitivity(a, low, criterion=criterion)
        assert got.tolist() == pytest.approx([first, 0.0, 0.0], rel=1e-12)


def test_statistics_by_hand():
    """Forget (low quality) over retain: unit 0 of A is [1, 3] against [2, -2]."""
    expected = {
        "abs": [2 / 2, 1.5 / 2],
        "rms": [np.sqrt(5) / 2, np.sqrt(2.5) / np.sqrt(8)],
        "freq": [1 / 0.5, 0.5 / 0.5],
        "std": [1 / 2, 1.5 / 2],
    }
    for criterion, values in expected.items():
        got = sensitivity(A, LOW, criterion=criterion)
        assert got.tolist() == pytest.approx(values, rel=1e-6), criterion
        turned = sensitivity(A, ~LOW, criterion=criterion)
        assert turned.tolist() == pytest.approx([1 / v for v in values], rel=1e-6)


def test_a_unit_active_on_low_quality_alone_goes_first():
    """The released baselines had the two sets the other way round."""
    x = randn(200, 5).abs()
    low = torch.arange(200) < 60
    x[low, 3] *= 10
    x[~low, 3] *= 0.1
    for criterion in ("abs", "rms", "std"):
        assert top_units(sensitivity(x, low, criterion=criterion), 1).tolist() == [3]


def test_magnitude_and_random():
    weight = torch.tensor([[3.0, 4], [0, 1]])
    got = sensitivity(A, LOW, criterion="magnitude", weight=weight)
    assert got.tolist() == [-5.0, -1.0]  # the weakest unit goes first
    conv = nn.Conv2d(3, 2, 3)
    got = sensitivity(A, LOW, criterion="magnitude", weight=conv.weight)
    assert torch.allclose(-got, conv.weight.double().flatten(1).norm(dim=1))
    assert not got.requires_grad
    drawn = [sensitivity(A, LOW, criterion="random", seed=s) for s in (1, 1, 2)]
    first = sensitivity(A, LOW, criterion="random", seed=0)
    assert torch.equal(sensitivity(A, LOW, criterion="random"), first)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("criterion", CRITERIA)
def test_order_of_samples_does_not_matter_and_nothing_is_touched(criterion):
    x, low = randn(50, 4), torch.arange(50) % 3 == 0
    given = x.clone()
    with untouched(nn.ReLU()):
        one = sensitivity(x, low, criterion=criterion, weight=randn(4, 2))
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    other = sensitivity(x[order], low[order], criterion=criterion, weight=randn(4, 2))
    assert torch.allclose(one, other, atol=1e-10)
    assert one.dtype == torch.float64 and one.shape == (4,)
    assert torch.equal(x, given)


def test_top_units():
    scores = torch.tensor([0.5, -3, 2, 0.9, 1])
    assert top_units(scores, 2).tolist() == [2, 4]
    assert top_units(scores, 0.5).tolist() == [2, 4]  # round(2.5) = 2
    assert top_units(scores, 0.6).tolist() == [2, 3, 4]
    assert top_units(scores, np.int64(1)).tolist() == [2]
    assert top_units(scores, np.float32(0.2)).tolist() == [2]
    # the paper's 40 of 256 is a share of 15.6 %
    assert len(top_units(torch.arange(256.0), 0.156)) == 40
    assert len(top_units(scores, 0)) == len(top_units(scores, 0.0)) == 0
    for amount in (5, 6, -1, 1.0, 0.05, 1.7, -0.2, True, float("nan")):
        with pytest.raises((ValueError, TypeError), match="amount"):
            top_units(scores, amount)
    with pytest.raises(TypeError, match="amount must be a number"):
        top_units(scores, "3")
    with pytest.raises(ValueError, match="scores holds NaN"):
        top_units(scores * torch.nan, 2)


def test_errors():
    with pytest.raises(ValueError, match="unknown criterion 'taylor'.*regression"):
        sensitivity(A, LOW, criterion="taylor")
    with pytest.raises(ValueError, match=r"must be \(N, d\)"):
        sensitivity(A[:, 0], LOW)
    with pytest.raises(ValueError, match="d >= 1"):
        sensitivity(A[:, :0], LOW)
    with pytest.raises(TypeError, match="low_quality must be boolean"):
        sensitivity(A, LOW.long())
    with pytest.raises(ValueError, match="low_quality must have shape"):
        sensitivity(A, LOW[:3])
    for criterion in CRITERIA:
        with pytest.raises(ValueError, match="the low-quality part is empty"):
            sensitivity(A, LOW & False, criterion=criterion, weight=A)
        with pytest.raises(ValueError, match="the high-quality part is empty"):
            sensitivity(A, LOW | True, criterion=criterion, weight=A)
        with pytest.raises(ValueError, match="NaN or infinite"):
            sensitivity(A / 0, LOW, criterion=criterion, weight=A)
    with pytest.raises(ValueError, match="needs weight"):
        sensitivity(A, LOW, criterion="magnitude")
    with pytest.raises(ValueError, match="needs weight"):
        sensitivity(A, LOW, criterion="magnitude", weight=torch.ones(3, 2))
    with pytest.raises(ValueError, match="needs weight"):
        sensitivity(A, LOW, criterion="magnitude", weight=torch.ones(1, 2))
