"""Fit a mixture of two: from which start, by whose hand, until when."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rlap.checks import check_one_of
from rlap.mixture.gaussians import (
    COVARIANCES,
    REGULARISATION,
    Mixture,
    NearlySingular,
    Sums,
    deltas,
)
from rlap.mixture.samples import Samples
from rlap.mixture.starts import halves, kmeans

STARTS = ("kmeans", "total")  # where the fit of a mixture begins
BEST = "best"  # of these, the one that fits best
SOLVERS = ("torch", "sklearn")
COMPONENTS = 2
SMALL = 2**24  # products a pass, below which float64 costs nothing
TOLERANCE = 1e-3  # gain in mean log-likelihood below which a fit has converged


def fit(
    data: Samples,
    *,
    start: str = "kmeans",
    total: Tensor | None = None,
    covariance_type: str = "full",
    n_init: int = 1,
    max_iter: int = 300,
    seed: int = 0,
    solver: str = "torch",
) -> Mixture:
    """Fit two Gaussians to standardised samples (N, d).

    Args:
        start: "kmeans", or "total": the halves of lower and higher ``total`` (N,).
        covariance_type, n_init, max_iter: as in scikit-learn's GaussianMixture.
        seed: below 2**32 it is scikit-learn's ``random_state``.
        solver: "torch"; or "sklearn", the reference, on the CPU in float64.

    Raises ``ValueError`` for unknown names and where a component collapses to a
    singular covariance. Source: Dempster, Laird and Rubin 1977.

    >>> from rlap.mixture import fit, standardise
    >>> x = torch.cat([torch.randn(50, 2), torch.randn(50, 2) + 9])
    >>> data = standardise(x)
    >>> fit(data).posterior(data).round().sum(0)
    tensor([50., 50.], dtype=torch.float64)
    """
    check_one_of(start, STARTS, "start")
    check_one_of(covariance_type, COVARIANCES, "covariance_type")
    check_one_of(solver, SOLVERS, "solver")
    part = None if start == "kmeans" else halves(total, seed)
    if solver == "sklearn":
        return by_sklearn(data, part, covariance_type, n_init, max_iter, seed)
    dtype = fastest_dtype(data)
    random = np.random.RandomState(seed % 2**32)  # NumPy takes no larger one
    parts = [part]
    if part is None:
        parts = (kmeans(data, COMPONENTS, random, dtype) for _ in range(n_init))
    fits = [improve(data, part, covariance_type, max_iter, dtype) for part in parts]
    return max(fits, key=lambda fitted: fitted.log_likelihood)


def fastest_dtype(data: Samples) -> torch.dtype:
    """float32 where that is faster and its products exact enough, else float64.

    They are not where squares of the scores leave its range, nor with torch's settings
    for speed, by which TF32 or bfloat16 are multiplied instead.
    """
    (n, d), spread = data.shape, data.spread
    if n * d**2 < SMALL or not bool(((spread > 1e-12) & (spread < 1e12)).all()):
        return torch.float64
    x = torch.full((1024, 64), 1 + 2.0**-20, device=spread.device)
    exact = torch.equal(x @ torch.eye(64, device=spread.device), x)
    return torch.float32 if exact else torch.float64


def improve(
    data: Samples, part: Tensor, covariance_type: str, max_iter: int, dtype: torch.dtype
) -> Mixture:
    """Begin with the Gaussians of the parts ``part`` (N,), and improve them by
    expectation-maximisation until it hardly pays.

    In ``dtype``, and again in float64 where a covariance is too close to singular.
    """
    try:
        return improve_in(data, part, covariance_type, max_iter, dtype)
    except NearlySingular:
        return improve_in(data, part, covariance_type, max_iter, torch.float64)


def improve_in(
    data: Samples, part: Tensor, covariance_type: str, max_iter: int, dtype: torch.dtype
) -> Mixture:
    """``improve`` in ``dtype`` from beginning to end."""
    mixture = of_parts(data, part, covariance_type, dtype)
    converged, likelihood, iteration = False, -math.inf, 0
    while not converged and iteration < max_iter:
        before, total, iteration = likelihood, 0.0, iteration + 1
        sums = Sums(data, mixture.means, covariance_type, dtype)
        step = mixture.expectation(data)
        for _, chunk in deltas(data, mixture.means, dtype):
            shares, each = step(chunk)
            sums.add(chunk, shares)
            total = total + each.sum()
        mixture, likelihood = sums.mixture(), float(total) / len(data.values)
        converged = abs(likelihood - before) < TOLERANCE
    return replace(
        mixture, log_likelihood=likelihood, iterations=iteration, converged=converged
    )


def of_parts(
    data: Samples, part: Tensor, covariance_type: str, dtype: torch.dtype
) -> Mixture:
    """The Gaussian of each of the parts ``part`` (N,)."""
    size = COMPONENTS, data.shape[1]
    means = torch.zeros(size, dtype=torch.float64, device=part.device)
    for kind in ("diag", covariance_type):  # first the means, then what is about them
        sums = Sums(data, means, kind, dtype)
        for rows, chunk in deltas(data, means, dtype):
            sums.add(chunk, F.one_hot(part[rows], COMPONENTS).T.double())
        means, _ = sums.moved()
    return sums.mixture()


def by_sklearn(
    data: Samples,
    part: Tensor | None,
    covariance_type: str,
    n_init: int,
    max_iter: int,
    seed: int,
) -> Mixture:
    """The fit of scikit-learn's GaussianMixture, on the CPU in float64."""
    from sklearn.mixture import GaussianMixture  # here: it takes seconds to import

    begin: dict[str, object] = {}
    if part is not None:
        first = of_parts(data, part, covariance_type, torch.float64)
        begin = {"weights_init": first.weights, "means_init": first.means}
        begin["precisions_init"] = {
            "full": lambda r: r @ r.mT,
            "tied": lambda r: r[0] @ r[0].T,
            "diag": lambda r: r.square(),
            "spherical": lambda r: r[:, 0].square(),
        }[covariance_type](first.roots)
    x = torch.cat([rows for _, rows in data.chunks(torch.float64)])
    mixture = GaussianMixture(
        COMPONENTS,
        covariance_type=covariance_type,
        reg_covar=REGULARISATION,
        tol=TOLERANCE,
        n_init=n_init,
        max_iter=max_iter,
        random_state=seed % 2**32,
        **{name: value.cpu().numpy() for name, value in begin.items()},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence is told by ``converged``
        mixture.fit(x.cpu().numpy())

    def ours(values: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(values).to(x.device)
        if covariance_type == "tied":
            tensor = tensor.repeat(COMPONENTS, 1, 1)
        elif covariance_type == "spherical":
            tensor = tensor[:, None].repeat(1, x.shape[1])
        return tensor

    return Mixture(
        torch.from_numpy(mixture.weights_).to(x.device),
        torch.from_numpy(mixture.means_).to(x.device),
        ours(mixture.covariances_),
        ours(mixture.precisions_cholesky_),
        log_likelihood=float(mixture.lower_bound_),
        iterations=int(mixture.n_iter_),
        converged=bool(mixture.converged_),
    )
