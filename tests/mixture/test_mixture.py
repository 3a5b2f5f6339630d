"""Our mixture against scikit-learn's: the same parts, the same likelihood."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from conftest import mlp, randn, untouched
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import rlap
from rlap.mixture import COVARIANCES, STARTS, fit, standardise
from rlap.mixture.gaussians import Mixture, mahalanobis
from rlap.mixture.starts import halves, kmeans


def two_groups(n: int = 600, d: int = 12, apart: float = 1.0, seed: int = 0) -> Tensor:
    """(n, d) rectified scores on scales of their own; a third has another mean."""
    x = randn(n, d, seed=seed) + 0.7 * randn(n, 1, seed=seed + 1)
    x[: n // 3] = 0.5 * x[: n // 3] + apart
    return x.relu() * (0.1 + randn(d, seed=seed + 2).abs())


def by_hand(x: Tensor) -> np.ndarray:
    """The units that vary, standardised in float64."""
    x = x.double().numpy()
    x = x[:, np.ptp(x, axis=0) > 1e-9 * np.abs(x).max(0)]
    return (x - x.mean(0)) / x.std(0)


def reference(x: Tensor, covariance_type: str = "full", seed: int = 0, **options):
    """scikit-learn's fit, and the posterior by it."""
    mixture = GaussianMixture(
        2, covariance_type=covariance_type, max_iter=300, random_state=seed, **options
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mixture.fit(by_hand(x))
    return mixture, torch.from_numpy(mixture.predict_proba(by_hand(x)))


def assert_same_fit(ours: Mixture, x: Tensor, theirs, posterior: Tensor) -> None:
    d = len(ours.means[0])
    size = max(abs(theirs.lower_bound_), d)
    assert abs(ours.log_likelihood - theirs.lower_bound_) <= 1e-5 * size
    assert (ours.iterations, ours.converged) == (theirs.n_iter_, theirs.converged_)
    found = ours.posterior(standardise(x))
    undecided = (posterior[:, 0] - 0.5).abs() < 1e-3
    assert torch.equal(found.argmax(1)[~undecided], posterior.argmax(1)[~undecided])
    assert torch.allclose(found.sum(1), torch.ones(len(x)).double())


@pytest.fixture
def in_float32(monkeypatch) -> None:
    """As data of many samples and units are fitted."""
    monkeypatch.setattr("rlap.mixture.fitting.SMALL", 0)


# --- the same as scikit-learn -------------------------------------------------------


@pytest.mark.parametrize("covariance_type", COVARIANCES)
@pytest.mark.parametrize("seed", [0, 1, 7])
def test_from_k_means(covariance_type, seed, in_float32):
    x = two_groups(seed=seed)
    theirs, posterior = reference(x, covariance_type, seed, n_init=2)
    ours = fit(standardise(x), covariance_type=covariance_type, seed=seed, n_init=2)
    assert_same_fit(ours, x, theirs, posterior)
    assert ours.dtype == torch.float32
    assert ours.weights.numpy() == pytest.approx(theirs.weights_, abs=1e-4)
    assert ours.means.numpy() == pytest.approx(theirs.means_, abs=1e-3)
    spread = ours.covariances.numpy()
    if covariance_type == "tied":
        spread = spread[0]
    elif covariance_type == "spherical":
        spread = spread[:, 0]
    assert spread == pytest.approx(theirs.covariances_, abs=2e-3)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
@pytest.mark.parametrize("seed", [0, 1])
def test_from_the_halves(covariance_type, seed, in_float32):
    x = two_groups(seed=4)
    total = x.sum(1, dtype=torch.float64)
    z = by_hand(x)
    parts = [z[(halves(total, seed) == j).numpy()] for j in (0, 1)]
    spread = [np.cov(p, rowvar=False, bias=True) + 1e-6 * np.eye(12) for p in parts]
    if covariance_type == "diag":
        precisions = [1 / np.diag(s) for s in spread]
    else:
        precisions = [np.linalg.inv(s) for s in spread]
        precisions = [(p + p.T) / 2 for p in precisions]
    theirs, posterior = reference(
        x, covariance_type, weights_init=[0.5, 0.5],
        means_init=[p.mean(0) for p in parts], precisions_init=precisions,
    )  # fmt: skip
    ours = fit(
        standardise(x), start="total", total=total, seed=seed,
        covariance_type=covariance_type,
    )  # fmt: skip
    assert_same_fit(ours, x, theirs, posterior)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(4, 50),
    d=st.integers(1, 9),
    constant=st.booleans(),
    twice=st.booleans(),
    groups=st.sampled_from([1, 2]),
    covariance_type=st.sampled_from(COVARIANCES),
)
def test_small_and_ill_conditioned(
    seed, n, d, constant, twice, groups, covariance_type
):
    """Constant and duplicate columns, fewer samples than units, one group."""
    x = randn(n, d, seed=seed % 1000).double()
    if groups == 2:
        x[: n // 2] += 3
    if twice:
        x = torch.cat([x, x[:, :1]], 1)
    if constant:
        x = torch.cat([x, torch.full((n, 1), 0.3).double()], 1)
    theirs, posterior = reference(x, covariance_type, seed)
    ours = fit(standardise(x), covariance_type=covariance_type, seed=seed)
    assert_same_fit(ours, x, theirs, posterior)
    assert len(ours.means[0]) == x.shape[1] - constant


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), n=st.integers(4, 200), k=st.integers(2, 4),
    d=st.integers(1, 5),
)  # fmt: skip
def test_k_means_draws_and_finds_the_same(seed, n, k, d):
    x = randn(n, d, seed=n)
    ours = kmeans(standardise(x), k, np.random.RandomState(seed))
    model = KMeans(k, n_init=1, random_state=np.random.RandomState(seed))
    theirs = torch.from_numpy(model.fit(by_hand(x)).labels_)
    # in any numbering: two candidates can be equally good but for rounding
    together = ours[:, None] == ours
    assert torch.equal(together, theirs[:, None] == theirs)


NOISES = [
    ("gaussian_clamped", rate, level) for rate in (0.2, 0.5, 0.8) for level in (2, 5, 8)
]
NOISES += [("symmetric_exclusive", 0.4, None), ("pair", 0.3, None)]


@pytest.fixture(scope="module")
def digits():
    return rlap.load("digits").train


@pytest.mark.parametrize(("kind", "rate", "level"), NOISES)
def test_attributions_of_trained_networks(digits, kind, rate, level, in_float32):
    """From both starts no sample lies on another side."""
    noisy = rlap.corrupt(digits, kind=kind, rate=rate, level=level, seed=1).split
    net = mlp(noisy.inputs[0].numel(), 64, 10)
    noisy = rlap.Split(noisy.inputs.flatten(1), noisy.labels)
    rlap.train(net, noisy, rlap.Recipe(epochs=5, lr=0.02))
    x = rlap.attribute(net, noisy.inputs, layer="2")
    data, total = standardise(x), x.sum(1, dtype=torch.float64)
    for start in STARTS:
        ours = fit(data, start=start, total=total)
        theirs = fit(data, start=start, total=total, solver="sklearn")
        found, expected = ours.posterior(data), theirs.posterior(data)
        assert torch.equal(found.argmax(1), expected.argmax(1))
        assert ours.log_likelihood == pytest.approx(theirs.log_likelihood, rel=1e-5)
        assert ours.iterations == theirs.iterations


@pytest.mark.parametrize("covariance_type", COVARIANCES)
@pytest.mark.parametrize("start", STARTS)
def test_scikit_learn_by_name(covariance_type, start, in_float32):
    x = two_groups(seed=9)
    told = {"covariance_type": covariance_type, "start": start, "seed": 3}
    told["total"] = x.sum(1, dtype=torch.float64)
    data = standardise(x)
    ours, theirs = (fit(data, solver=s, **told) for s in ("torch", "sklearn"))
    assert theirs.dtype == torch.float64
    assert ours.log_likelihood == pytest.approx(theirs.log_likelihood, rel=1e-5)
    assert torch.allclose(ours.posterior(data), theirs.posterior(data), atol=1e-3)
    assert torch.allclose(ours.covariances, theirs.covariances, atol=2e-3)
    if start == "kmeans":
        _, posterior = reference(x, covariance_type, seed=3)
        assert torch.allclose(theirs.posterior(data), posterior, atol=1e-9)


# --- precision ------------------------------------------------------------------------


def test_small_data_are_fitted_in_float64():
    assert fit(standardise(two_groups())).dtype == torch.float64
    big = standardise(two_groups(5000, 64))
    assert fit(big, max_iter=1).dtype == torch.float32


def test_float64_where_float32_is_too_coarse(in_float32):
    x = two_groups()
    assert fit(standardise(x)).dtype == torch.float32
    twice = torch.cat([x, x[:, :1]], 1)
    assert fit(standardise(twice)).dtype == torch.float64
    assert fit(standardise(twice), covariance_type="diag").dtype == torch.float32


@pytest.mark.parametrize("scale", [1e-25, 1e-8, 1e8, 1e25])
def test_no_scale_of_the_scores_matters(scale, in_float32):
    x = two_groups()
    plain, scaled = fit(standardise(x)), fit(standardise(x * scale))
    assert scaled.iterations == plain.iterations
    assert scaled.log_likelihood == pytest.approx(plain.log_likelihood, rel=1e-5)
    outside = not 1e-12 < scale < 1e12
    assert scaled.dtype == (torch.float64 if outside else torch.float32)


def test_an_offset_does_not_matter(in_float32):
    x = two_groups().double()
    plain, moved = standardise(x), standardise(x + 1e6)
    assert torch.allclose(
        fit(plain).posterior(plain), fit(moved).posterior(moved), atol=1e-3
    )


def test_settings_for_speed_do_not_make_it_coarse():
    """With them, matrices in float32 are multiplied in TF32 or bfloat16."""
    x = two_groups(5000, 64)
    exact = fit(standardise(x))
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        rounds = torch.full((1024, 64), 1 + 2.0**-20)
        coarse = not torch.equal(rounds @ torch.eye(64), rounds)
        fast = fit(standardise(x))
    finally:
        torch.set_float32_matmul_precision(before)
    assert fast.dtype == (torch.float64 if coarse else torch.float32)
    assert fast.log_likelihood == pytest.approx(exact.log_likelihood, rel=1e-6)


def test_a_collapsed_component_is_told(monkeypatch, in_float32):
    monkeypatch.setattr("rlap.mixture.gaussians.REGULARISATION", -1e-3)
    x = two_groups()
    with pytest.raises(ValueError, match="collapsed"):
        fit(standardise(torch.cat([x, x[:, :1]], 1)))


# --- memory, and what is left alone ---------------------------------------------------


class Largest(TorchDispatchMode):
    """The most values in one tensor that any operation made."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        inputs = {a.data_ptr() for a in args if isinstance(a, Tensor)}
        for made in out if isinstance(out, tuple | list) else (out,):
            if isinstance(made, Tensor) and made.data_ptr() not in inputs:
                self.most = max(self.most, made.numel())
        return out


def chunked(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let samples be read in chunks of that many rows."""
    for module in ("samples", "gaussians"):
        monkeypatch.setattr(
            f"rlap.mixture.{module}.slices",
            lambda v: [slice(i, i + rows) for i in range(0, len(v), rows)],
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_copy_of_the_samples(dtype, monkeypatch, in_float32):
    chunked(5000, monkeypatch)
    n, d = 50_000, 10
    x = torch.cat([two_groups(n, d - 2), torch.ones(n, 2)], 1).to(dtype)
    with Largest() as seen, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for start in STARTS:
            rlap.partition(x, start=start, max_iter=2)
    assert 2 * n <= seen.most < 3 * n  # the posterior of two components


@pytest.mark.parametrize("rows", [1, 7, 10**6])
def test_the_size_of_chunks_does_not_matter(rows, monkeypatch, in_float32):
    x = two_groups(80, 5)
    whole = fit(standardise(x))
    chunked(rows, monkeypatch)
    parts = fit(standardise(x))
    assert parts.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-6)
    assert torch.allclose(parts.means, whole.means, atol=1e-4)


def test_nothing_else_is_touched():
    x = two_groups()
    before = x.clone()
    with untouched(torch.nn.ReLU()):
        first, again = fit(standardise(x)), fit(standardise(x))
    assert torch.equal(x, before)
    assert torch.equal(first.means, again.means)


@pytest.mark.parametrize("d", [1, 63, 64, 65, 150])
def test_triangular_products(d):
    root, delta = randn(d, d, seed=1).triu().double(), randn(9, d).double()
    expected = (delta @ root).square().sum(1)
    assert torch.allclose(mahalanobis(delta, root), expected)
    assert torch.allclose(
        mahalanobis(delta, root.diagonal()), (delta * root.diagonal()).square().sum(1)
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("start", STARTS)
def test_the_same_on_a_gpu(start):
    x = two_groups(5000, 64)
    total = x.sum(1, dtype=torch.float64)
    here = fit(standardise(x), start=start, total=total)
    there = fit(standardise(x.cuda()), start=start, total=total.cuda())
    assert there.means.is_cuda and there.iterations == here.iterations
    assert there.log_likelihood == pytest.approx(here.log_likelihood, rel=1e-5)
    parts = there.posterior(standardise(x.cuda())).argmax(1).cpu()
    assert torch.equal(parts, here.posterior(standardise(x)).argmax(1))


def test_unknown_names():
    data = standardise(two_groups())
    for told in ({"start": "best"}, {"solver": "jax"}, {"covariance_type": "round"}):
        with pytest.raises(ValueError, match=next(iter(told))):
            fit(data, **told)
