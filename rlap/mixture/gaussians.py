"""The two steps of expectation-maximisation, one chunk of samples at a time.

Likelihoods, sums over chunks and covariances are in float64; the products within a
chunk, which are nearly all the work, in the dtype of the pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from rlap.mixture.samples import Samples, slices

COVARIANCES = ("full", "tied", "diag", "spherical")
REGULARISATION = 1e-6  # added to every variance of the standardised scores
# Share of a unit's variance that others leave unexplained, below which float32 is too
# coarse: its sums are good to about 3e-6 of the variance, so to 1% of what is left.
SINGULAR = 3e-4
NEGLIGIBLE = 1e-16  # a responsibility that no sum in float64 would feel
BLOCK = 64  # columns at a time of a triangular product: half of it is left out


class NearlySingular(ArithmeticError):
    """A covariance is too close to singular for float32."""


@dataclass(frozen=True)
class Mixture:
    """k Gaussians over d standardised units, in float64.

    ``weights`` (k,); ``means`` (k, d); ``covariances`` (k, d, d), or (k, d) where they
    are diagonal; ``roots``, shaped alike and upper triangular: (x - mean) @ root has
    the identity as its covariance. ``log_likelihood``: mean over samples in the last
    step, scikit-learn's ``lower_bound_``; ``dtype``: that samples are read in.
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor
    roots: Tensor
    dtype: torch.dtype = torch.float64
    log_likelihood: float = -math.inf
    iterations: int = 0
    converged: bool = False

    def expectation(
        self, data: Samples
    ) -> Callable[[list[Tensor]], tuple[Tensor, Tensor]]:
        """The step to each sample's posterior (k, B) and log-likelihood (B,), float64,
        from its ``deltas``: x - mean (B, d) of each component in the units' scale."""
        full = self.roots.dim() == 3
        own = self.roots / (data.spread[:, None] if full else data.spread)
        roots = data.over_all(own).to(self.dtype)
        scales = self.roots.diagonal(dim1=1, dim2=2) if full else self.roots
        constants = self.weights.log() + scales.log().sum(1)
        constants = (constants - scales.shape[1] / 2 * math.log(2 * math.pi))[:, None]

        def step(deltas: list[Tensor]) -> tuple[Tensor, Tensor]:
            pairs = zip(deltas, roots, strict=True)
            squares = torch.stack([mahalanobis(x, root) for x, root in pairs])
            joint = constants - squares.double() / 2
            each = joint.logsumexp(0)
            return (joint - each).exp_(), each

        return step

    def posterior(self, data: Samples) -> Tensor:
        """The posterior of each component for every sample, (N, k) in float64."""
        step = self.expectation(data)
        chunks = deltas(data, self.means, self.dtype)
        return torch.cat([step(chunk)[0] for _, chunk in chunks], 1).T


def deltas(
    data: Samples, means: Tensor, dtype: torch.dtype
) -> Iterator[tuple[slice, list[Tensor]]]:
    """Slices of rows with their x - mean (B, d) for each of ``means`` (k, kept), in the
    scale of the units: nothing is rounded that nearly cancels."""
    wide = torch.promote_types(data.values.dtype, dtype)
    own = data.means(means).to(wide)
    for rows in slices(data.values):
        x = data.values[rows].to(wide)
        yield rows, [(x - mean).to(dtype) for mean in own]


class Sums:
    """What the next parameters are made of: of each component the sums of its shares,
    of share * delta and of share * delta delta^T."""

    def __init__(
        self, data: Samples, means: Tensor, covariance_type: str, dtype: torch.dtype
    ) -> None:
        k, d = len(means), data.values.shape[1]
        self.data, self.means, self.dtype = data, means, dtype
        self.covariance_type = covariance_type
        # as in scikit-learn: a component without samples divides by no zero
        self.count = means.new_full((k,), 10 * torch.finfo(torch.float64).eps)
        self.first = means.new_zeros(k, d)
        full = covariance_type in ("full", "tied")
        self.second = means.new_zeros(k, d, d) if full else means.new_zeros(k, d)

    def add(self, deltas: list[Tensor], shares: Tensor) -> None:
        """Add a chunk: deltas (B, d) of each component, shares (k, B) in float64."""
        self.count += shares.sum(1)
        for j, (delta, share) in enumerate(zip(deltas, shares, strict=True)):
            own = (share > NEGLIGIBLE).nonzero()[:, 0]
            delta, share = delta.index_select(0, own), share[own].to(self.dtype)
            self.first[j] += share @ delta
            add_products(self.second[j], delta, delta * share[:, None])

    def moved(self) -> tuple[Tensor, Tensor]:
        """The new means (k, kept), and how far they are from the old."""
        shift = self.first[:, self.data.units] / self.data.spread / self.count[:, None]
        return self.means + shift, shift

    def mixture(self) -> Mixture:
        """The parameters of the highest likelihood for these shares."""
        count, units, spread = self.count, self.data.units, self.data.spread
        means, shift = self.moved()
        if self.second.dim() == 3:
            upper = self.second[:, units[:, None], units] / spread[:, None] / spread
            upper = upper / count[:, None, None] - shift[:, :, None] * shift[:, None]
            found = upper.triu() + upper.triu(1).mT
            if self.covariance_type == "tied":
                share = (count / count.sum())[:, None, None]
                found = (share * found).sum(0).repeat(len(count), 1, 1)
            found.diagonal(dim1=1, dim2=2).add_(REGULARISATION)
            roots = inverse_roots(found, fine=self.dtype == torch.float64)
        else:
            found = self.second[:, units] / spread.square() / count[:, None]
            found = found - shift.square() + REGULARISATION
            if self.covariance_type == "spherical":
                found = found.mean(1, keepdim=True).expand_as(found)
            roots = found.rsqrt()
        return Mixture(count / count.sum(), means, found, roots, self.dtype)


def mahalanobis(delta: Tensor, root: Tensor) -> Tensor:
    """|delta @ root|^2 of each row: (B, d), (d, d) upper triangular or (d,) -> (B,)."""
    if root.dim() == 1:
        return torch.linalg.vector_norm(delta * root, dim=1).square_()
    total = delta.new_zeros(len(delta))
    for i in range(0, len(root), BLOCK):
        stop = i + BLOCK
        white = delta[:, :stop] @ root[:stop, i:stop]
        total += torch.linalg.vector_norm(white, dim=1).square_()
    return total


def add_products(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add a^T b (a, b: (B, d)) to the upper triangle of ``total`` (d, d), or its
    diagonal to ``total`` (d,)."""
    if total.dim() == 1:
        total += (a * b).sum(0)
        return
    for i in range(0, len(total), BLOCK):
        stop = i + BLOCK
        total[:stop, i:stop] += a[:, :stop].T @ b[:, i:stop]


def inverse_roots(covariances: Tensor, *, fine: bool) -> Tensor:
    """Upper triangular R with R R^T the inverse of each of ``covariances`` (k, d, d).

    Raises ``NearlySingular`` where they are that and came from sums that were not
    ``fine``, and ``ValueError`` where they are singular.
    """
    lower, failed = torch.linalg.cholesky_ex(covariances)
    singular = bool(failed.any())
    if not fine:
        left = lower.diagonal(dim1=1, dim2=2).square()
        whole = covariances.diagonal(dim1=1, dim2=2)
        if singular or bool((left < SINGULAR * whole).any()):
            raise NearlySingular
    if singular:
        raise ValueError(
            "a component of the mixture collapsed: its covariance is singular; scale "
            "the scores or take covariance_type='diag'"
        )
    identity = torch.eye(lower.shape[1], dtype=lower.dtype, device=lower.device)
    return torch.linalg.solve_triangular(lower, identity, upper=False).mT
