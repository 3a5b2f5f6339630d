"""OSP's training: a penalty that keeps the kernels of convolutions orthogonal, and what
it should bring: channels that do not respond together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlap.checks import check_finite, check_level
from rlap.data.base import Split
from rlap.network.layers import reading
from rlap.network.watching import Call, watching
from rlap.unlearning.common.statistics import pooled, response_sites


@dataclass(frozen=True)
class KernelOrthogonality:
    """strength * sum over convolutions of ||G - I||_F^2, a ``penalty`` for ``train``.

    G is the Gram matrix of the kernels, W W^T with W (Cout, Cin k^2), or W^T W where
    there are more kernels than values in one (they cannot all be orthogonal).
    Convolutions that are not trained are left out; at strength 0 the penalty is exactly
    nothing. Source: Gong et al., section on orthogonal regularisation; strength 1e-3 as
    a re-implementation of its successor has it.

    >>> float(KernelOrthogonality(0.0)(nn.Conv2d(1, 2, 3)))
    0.0
    """

    strength: float = 1e-3

    def __post_init__(self) -> None:
        check_level(self.strength, "strength")

    def __call__(self, model: nn.Module) -> Tensor:
        weights = [
            module.weight
            for module in model.modules()
            if isinstance(module, nn.Conv2d) and module.weight.requires_grad
        ]
        if not weights:
            raise TypeError("kernel orthogonality needs an nn.Conv2d that is trained")
        if self.strength == 0:
            return weights[0].new_zeros(())
        return self.strength * sum(gram_error(weight) for weight in weights)


def gram_error(weight: Tensor) -> Tensor:
    """||G - I||_F^2 of one convolution's weight (Cout, Cin, k, k): a scalar."""
    rows = weight.flatten(1)
    if rows.shape[0] > rows.shape[1]:
        rows = rows.T
    gram = rows @ rows.T
    return (gram - torch.eye(len(gram), device=gram.device)).square().sum()


def kernel_gram_error(model: nn.Module) -> float:
    """The sum of ||G - I||_F^2 over the convolutions that are trained."""
    with torch.no_grad():
        return float(KernelOrthogonality(1.0)(model))


@dataclass(frozen=True)
class GramParts:
    """How far one convolution's kernels are from orthonormal, in two parts.

    ``norm``: root mean square of G_jj - 1; ``cosine``: mean |cosine| of two different
    kernels. Only the second is about orthogonality.
    """

    norm: float
    cosine: float


@torch.no_grad()
def gram_parts(model: nn.Module) -> dict[str, GramParts]:
    """The parts of every trained convolution, by name; a kernel of zeros counts as
    orthogonal to all. G is as in ``KernelOrthogonality``."""
    return {
        name: parts_of(module.weight)
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and module.weight.requires_grad
    }


def parts_of(weight: Tensor) -> GramParts:
    """The parts of a weight (Cout, Cin, k, k)."""
    rows = weight.detach().double().flatten(1)
    rows = rows.T if rows.shape[0] > rows.shape[1] else rows
    gram, n = rows @ rows.T, len(rows)
    length = gram.diagonal().sqrt().clamp(min=1e-12)
    cosines = (gram / (length[:, None] * length)).abs()
    beside = cosines.sum() - cosines.trace()
    return GramParts(
        (gram.diagonal() - 1).square().mean().sqrt().item(),
        beside.item() / max(1, n * (n - 1)),
    )


@torch.no_grad()
def channel_correlation(model: nn.Module, split: Split) -> dict[str, float]:
    """How far the channels of each convolution respond together: layer -> [0, 1].

    The mean |correlation| over samples of two channels' responses (see
    ``class_statistics``, maximum over positions); channels that never respond are left
    out. Orthogonal kernels would bring it down only if their inputs were uncorrelated.
    Raises ``TypeError`` without convolutions.
    """
    sites = response_sites(model, None)
    rows: dict[str, list[Tensor]] = {site: [] for site in sites.values()}

    def see(call: Call) -> None:
        rows[call.name].append(pooled(call.output, "max").cpu())

    with reading(model, split.inputs) as batches, watching(model, rows, see):
        for x in batches:
            model(x)
    return {
        name: mean_correlation(torch.cat(rows[site]), name)
        for name, site in sites.items()
        if rows[site]
    }


def mean_correlation(rows: Tensor, name: str) -> float:
    """Mean |correlation| of two different columns of (N, d) that vary; 0 if fewer."""
    rows = check_finite(rows.double(), f"the response of {name!r}")
    rows = rows[:, rows.std(0) > 0]
    d = rows.shape[1]
    if d < 2:
        return 0.0
    found = torch.corrcoef(rows.T).abs()
    return float((found.sum() - found.trace()) / (d * (d - 1)))
