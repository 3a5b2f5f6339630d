"""LRA-NPP: find the units that a class relies on by relevance, and zero them.

For each analysed image the k_a units with the most relevance for the predicted class
are noted; the k_p units noted most often over the images are perturbed, which in the
method itself means set to zero. As its code does it, the units are the inputs of the
last linear layer, where relevance is a_j W[y, j] / (z_y + 0.1 sgn z_y), and what is
zeroed are their weights there (``lra_layers`` goes through all layers). Five other ways
to choose the units are there as controls. Source: Chang et al., arXiv 2410.23693, and
its released code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rlap.checks import check_count, check_finite, check_one_of, check_seed
from rlap.data.base import Split
from rlap.network.cutting import cache_features
from rlap.network.modes import check_own_weights
from rlap.unlearning.common.begin import begin

SCOPES = ("all", "target")
# how units are chosen: the method's way, then the controls
SELECTIONS = (
    "relevance",  # most often among a sample's most relevant
    "mean_relevance",  # largest mean relevance
    "activation",  # largest mean activation
    "weight",  # largest |weight| to the class
    "contrast",  # largest mean activation less that over the retain set
    "random",
)
STABILISER = 0.1  # the released code's
# k_a and k_p over the layer's width: 200 and 400 of 2,048 in the released CIFAR-10 code
TOP_SHARE, PRUNED_SHARE = 200 / 2048, 400 / 2048


def forget_lra_npp(
    model: nn.Module,
    forget: Split,
    retain: Split | None = None,
    *,
    top: int | None = None,
    prune_units: int | None = None,
    scope: str = "all",
    select: str = "relevance",
    seed: int = 0,
) -> nn.Module:
    """LRA-NPP as its code does it, at the input of the last linear layer.

    Args:
        model: any classifier whose logits are the output of an nn.Linear; untouched.
        forget: images of the class to forget (the method wants held-out ones, few).
        retain: only used by the selection "contrast".
        top: k_a, units noted for each image; None is 200 in 2,048 of them.
        prune_units: k_p, units zeroed; None is 400 in 2,048 of them.
        scope: "all" zeroes their weights for every class, "target" for the class alone.
        select: one of ``SELECTIONS``: how the units are chosen.
        seed: of the selection "random".

    Returns a new model. Raises ``ValueError`` for more units than there are, an unknown
    scope or selection or a bad forget set, ``TypeError`` without a last linear layer or
    for one whose weight is computed from other parameters.

    >>> split = Split(torch.rand(3, 4), torch.full((3,), 2))
    >>> new = forget_lra_npp(nn.Linear(4, 3), split, top=2, prune_units=1)
    >>> int((new.weight == 0).all(0).sum())
    1
    """
    check_one_of(scope, SCOPES, "scope")
    start = begin(model, forget, retain)
    layer = start.model.get_submodule(start.last_linear())
    check_own_weights(layer, start.last)
    given = {"top": top, "prune_units": prune_units, "select": select, "seed": seed}
    units = chosen_units(start.model, forget, retain, **given)
    zero_weights(layer, units, start.labels if scope == "target" else None)
    return start.model


@torch.no_grad()
def zero_weights(
    layer: nn.Linear, units: Tensor, labels: Sequence[int] | None = None
) -> None:
    """Zero, in place, what a last layer makes of the ``units``: for all classes, or for
    ``labels`` alone."""
    rows = torch.tensor(
        range(layer.out_features) if labels is None else labels, device="cpu"
    )
    layer.weight[rows[:, None], units.cpu()] = 0


def chosen_units(
    model: nn.Module,
    forget: Split,
    retain: Split | None = None,
    *,
    top: int | None = None,
    prune_units: int | None = None,
    select: str = "relevance",
    seed: int = 0,
) -> Tensor:
    """The units, (at most k_p,) int64, that ``forget_lra_npp`` zeroes: inputs of the
    last linear layer, the first chosen first. Arguments and errors are the same."""
    check_one_of(select, SELECTIONS, "select")
    if select == "contrast" and retain is None:
        raise ValueError("the selection 'contrast' needs the retain set")
    start = begin(model, forget, retain)
    new, last = start.model, start.last_linear()
    layer = new.get_submodule(last)
    x = cache_features(new, forget, last, "fp32").inputs  # (N, d)
    top, keep = counts(top, prune_units, x.shape[1])
    if select == "relevance":
        return frequent_units(last_layer_relevance(x, layer), top, keep)
    if select == "mean_relevance":
        scores = last_layer_relevance(x, layer).mean(0)
    elif select == "activation":
        scores = x.mean(0)
    elif select == "weight":
        scores = layer.weight[list(start.labels)].detach().abs().mean(0)
    elif select == "contrast":
        scores = x.mean(0) - cache_features(new, retain, last, "fp32").inputs.mean(0)
    else:
        generator = torch.Generator().manual_seed(check_seed(seed))
        return torch.randperm(x.shape[1], generator=generator, device="cpu")[:keep]
    return check_finite(scores, f"the {select} of the units").topk(keep).indices.cpu()


def relevances(model: nn.Module, forget: Split) -> Tensor:
    """``last_layer_relevance`` of samples to forget, (N, d): what the selection
    "relevance" looks at, whatever the number of units."""
    start = begin(model, forget, None)
    last = start.last_linear()
    x = cache_features(start.model, forget, last, "fp32").inputs
    return last_layer_relevance(x, start.model.get_submodule(last))


def last_layer_relevance(features: Tensor, layer: nn.Linear) -> Tensor:
    """a_j W[y, j] / (z_y + 0.1 sgn z_y) for the predicted class y: (N, d) -> (N, d).

    The sign of zero counts as -1, as in the released code.
    """
    with torch.no_grad():
        logits = layer(features)  # (N, C)
        z, predicted = logits.max(dim=1, keepdim=True)
        stabilised = z + STABILISER * torch.where(z > 0, 1.0, -1.0)
        return features * layer.weight[predicted[:, 0]] / stabilised


def frequent_units(scores: Tensor, top: int, keep: int) -> Tensor:
    """The ``keep`` units that are most often among a sample's ``top`` largest scores.

    ``scores`` (N, d); a sample notes its units from the largest down, and of two units
    noted equally often the one noted first comes first. Fewer are returned when fewer
    were ever noted. Raises ``ValueError`` for NaN or more units than d.
    """
    n, d = scores.shape
    check_count(top, "top", maximum=d)
    check_count(keep, "prune_units", maximum=d)
    if not torch.isfinite(scores).all():
        raise ValueError("relevance is NaN or infinite; check the model and its inputs")
    noted = scores.topk(top, dim=1).indices.flatten().cpu()  # sample by sample
    frequency = torch.bincount(noted, minlength=d)  # (d,)
    first = torch.full((d,), n * top, device="cpu")
    first.scatter_reduce_(0, noted, torch.arange(n * top, device="cpu"), "amin")
    often, early = frequency.tolist(), first.tolist()  # numbers compare fast
    order = sorted(
        frequency.nonzero()[:, 0].tolist(), key=lambda j: (-often[j], early[j])
    )
    return torch.tensor(order[:keep], dtype=torch.int64, device="cpu")


def counts(top: int | None, keep: int | None, d: int) -> tuple[int, int]:
    """k_a and k_p for a layer of d units; None takes the released code's share."""
    top = max(1, round(TOP_SHARE * d)) if top is None else top
    keep = max(1, round(PRUNED_SHARE * d)) if keep is None else keep
    return check_count(top, "top", maximum=d), check_count(
        keep, "prune_units", maximum=d
    )
