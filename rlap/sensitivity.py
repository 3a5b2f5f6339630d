"""Stage 3: which units react to low-quality samples.

Every criterion returns one number a unit, larger for units that should go first. The
paper's regresses the split on the pre-activations; the others are those it compares
with (selective pruning, Pochinkov and Schoots, 2024) and two controls.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral

import torch
from torch import Tensor

from rlap.checks import (
    check_finite,
    check_mask,
    check_number,
    check_one_of,
    check_seed,
    check_tensor,
)

EPS = 1e-8  # of the released importance ratio
CHUNK = 4096  # samples a step of the streamed sums
UNITS = 16  # at a time, of a statistic of each unit
STATISTICS: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": lambda a: a.abs().mean(0),
    "rms": lambda a: a.square().mean(0).sqrt(),
    "freq": lambda a: (a > 0).to(a.dtype).mean(0),
    "std": lambda a: a.std(0, correction=0),
}
CRITERIA = ("regression", *STATISTICS, "magnitude", "random")


def sensitivity(
    activations: Tensor,
    low_quality: Tensor,
    *,
    criterion: str = "regression",
    absolute: bool = True,
    standardise: bool = False,
    weight: Tensor | None = None,
    seed: int = 0,
) -> Tensor:
    """Score the units of a layer by their reaction to low-quality samples: (d,).

    Args:
        activations: (N, d) pre-activations.
        low_quality: (N,) bool, True for the low-quality part (the forget set; the rest
            is the retain set).
        criterion: "regression": least-squares coefficient of the split on the
            activations; "abs", "rms", "freq", "std": that statistic on the forget set
            over the same on the retain set; "magnitude": minus the norm of the unit's
            weights; "random": a draw from ``seed``.
        absolute: rank regression coefficients by size, as the paper does; False ranks
            by sign, so that only units more active on low-quality samples go first.
        standardise: coefficients for activations of unit variance (scale-free).
        weight: (d, ...) the layer's weights, for "magnitude".

    Returns float64 on the device of ``activations``. Raises ``ValueError`` for an
    unknown criterion, an empty side, non-finite or wrongly shaped values. Source: paper
    section 3.3.

    >>> z = rlap.activations(model, data.inputs, layer="fc")
    >>> rlap.sensitivity(z, data.labels == 3).shape
    torch.Size([16])
    """
    check_one_of(criterion, CRITERIA, "criterion")
    seed = check_seed(seed)
    check_tensor(activations, "activations")
    if activations.dim() != 2 or not activations.shape[1]:
        raise ValueError(
            f"activations must be (N, d), d >= 1, not {tuple(activations.shape)}"
        )
    low = check_mask(low_quality, len(activations), "low_quality")
    low = low.to(activations.device)
    if low.all() or not low.any():
        side = "high" if low.all() else "low"
        raise ValueError(f"the {side}-quality part is empty: nothing to contrast")
    check_finite(activations, "activations")
    if criterion == "random":
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.rand(
            activations.shape[1], generator=generator, dtype=torch.float64, device="cpu"
        )
        return drawn.to(activations.device)
    if criterion == "magnitude":
        if weight is None or len(weight) != activations.shape[1]:
            raise ValueError("criterion 'magnitude' needs weight=(d, ...)")
        return -weight.detach().double().flatten(1).norm(dim=1)
    if criterion in STATISTICS:
        statistic, columns = STATISTICS[criterion], activations.split(UNITS, dim=1)
        forget, retain = (
            torch.cat([statistic(c[part].double()) for c in columns])
            for part in (low, ~low)
        )
        return forget / (retain + EPS)
    slope = regression(activations, low, standardise=standardise)
    return slope.abs() if absolute else slope


def regression(
    activations: Tensor, target: Tensor, *, standardise: bool = False
) -> Tensor:
    """Slopes of the least-squares fit target ~ 1 + activations: (N, d), (N,) -> (d,).

    Normal equations in float64, centred and scaled first (they square the condition
    number) and streamed in chunks, so that no second (N, d) array is made. Redundant
    units share their slope (minimum norm, of the scaled units). Where none is
    redundant it agrees with ``numpy.linalg.lstsq``.
    """
    n, d = activations.shape
    y = target.double()
    mean = torch.zeros(d, dtype=torch.float64, device=activations.device)
    for chunk in activations.split(CHUNK):
        mean += chunk.double().sum(0) / n
    gram = torch.zeros(d, d, dtype=torch.float64, device=activations.device)
    moment = torch.zeros_like(mean)
    y = y - y.mean()
    for chunk, part in zip(activations.split(CHUNK), y.split(CHUNK), strict=True):
        centred = chunk.double() - mean
        gram += centred.T @ centred
        moment += centred.T @ part
    scale = (gram.diagonal() / n).sqrt()
    # a unit that never moves (beyond the rounding of its mean) has no slope; 1 keeps
    # the division harmless
    moves = scale > 1e-9 * mean.abs()
    scale = torch.where(moves, scale, torch.ones_like(scale))
    correlation = gram / (n * scale[:, None] * scale)
    slope = torch.linalg.pinv(correlation, hermitian=True, rtol=1e-10) @ (
        moment / (n * scale)
    )
    return slope if standardise else slope / scale


def top_units(scores: Tensor, amount: int | float) -> Tensor:
    """Indices of the units with the largest scores, sorted: (d,) -> (k,) int64.

    ``amount``: an int is a count, a float in (0, 1) a share rounded to the nearest
    unit, and 0 none. Raises ``ValueError`` when a share chooses nothing, or everything
    would be chosen.

    >>> rlap.top_units(torch.tensor([0.1, 0.9, 0.5, 0.7]), 2)
    tensor([1, 3])
    """
    d = len(check_finite(scores, "scores"))
    whole = isinstance(amount, Integral)
    count = int(amount) if whole else round(check_number(amount, "amount") * d)
    none = count == 0 and amount != 0
    if isinstance(amount, bool) or none or not 0 <= count < d:
        raise ValueError(
            f"amount {amount!r} chooses {count} of {d} units; "
            "give a count in 0..d-1 or a share in (0, 1)"
        )
    return scores.topk(count).indices.sort().values
