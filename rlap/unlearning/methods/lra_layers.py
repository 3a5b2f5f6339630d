"""LRA-NPP as its text tells it: relevance through all layers, units of each zeroed.

How many layers the paper perturbs, and how many units of each, is not known: layers,
share and rule are our reading, to be chosen on samples that judge nothing. A layer
whose weights are frozen was set from data for all classes alike (whitening, for one)
and is left alone. Source: Chang et al., arXiv 2410.23693.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from rlap.checks import check_inside, check_one_of, check_seed
from rlap.data.base import Split
from rlap.network.copying import copy_of
from rlap.network.layers import SUPPORTED, get_layer, num_units, reading, unit_sum
from rlap.network.watching import watching
from rlap.pruning import prune
from rlap.unlearning.common.begin import begin, last_linear
from rlap.unlearning.lrp import Relevance, Rule, relevance
from rlap.unlearning.methods.lra_npp import (
    PRUNED_SHARE,
    STABILISER,
    counts,
    frequent_units,
)

# the released code's rule, and one by which positive contributions share alone
RULES = {
    "epsilon": Rule("epsilon", epsilon=STABILISER),
    "alpha1-beta0": Rule("alpha_beta", alpha=1.0),
}
SELECTIONS = ("relevance", "random")


def forget_lra_npp_layers(
    model: nn.Module,
    forget: Split,
    retain: Split | None = None,
    *,
    layers: Sequence[str] | None = None,
    share: float = PRUNED_SHARE,
    top: int | None = None,
    rule: Rule | None = None,
    select: str = "relevance",
    seed: int = 0,
) -> nn.Module:
    """Zero the units of several layers that are relevant most often: a new model.

    Args:
        model: any classifier that torch.fx can trace; untouched.
        forget: images of the class to forget.
        retain: not used.
        layers: names of the layers whose units are zeroed; None takes all that are
            trained but the last, which has to be an nn.Linear then.
        share: of each layer's units that are zeroed (k_p), in (0, 1); at least one.
        top: k_a for every layer; None is 200 in 2,048 of its units.
        rule: of the propagation; None is the epsilon rule with 0.1.
        select: "relevance", or "random" units as a control, as many, from ``seed``.

    A unit's relevance is summed over its positions; a zeroed unit loses its weights,
    its bias and the BatchNorm that follows. Raises as ``relevance`` and ``prune`` do,
    ``ValueError`` for a bad setting, no layer at all and one that no relevance reaches.

    >>> model = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 3))
    >>> split = Split(torch.rand(3, 2), torch.full((3,), 2))
    >>> int((forget_lra_npp_layers(model, split)[0].weight == 0).all(1).sum())
    1
    """
    begin(model, forget, retain)
    names = trained_layers(model, forget) if layers is None else list(layers)
    if not names:
        raise ValueError(
            "no layer to take units from: name some in layers, for by itself the "
            "method leaves frozen ones and the last alone"
        )
    widths = {name: num_units(get_layer(model, name)) for name in names}
    check_one_of(select, SELECTIONS, "select")
    if select == "random":
        asked = {name: share_of(width, share) for name, width in widths.items()}
        return without_units(model, random_units(model, asked, seed))
    scores = layer_scores(model, forget, names, rule)[0]
    return without_units(model, noted_units(scores, share, top))


def trained_layers(model: nn.Module, forget: Split) -> list[str]:
    """Names of the linear layers and convolutions that run and whose weights are
    trained, in the model's own order, without the last."""
    last, ran = last_linear(model, forget.inputs[:1]), set()
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, SUPPORTED)
        and module.weight.requires_grad
        and name != last
    ]
    # not all that is there does: attention reads the weights of one and calls it not
    with (
        torch.no_grad(),
        reading(model, forget.inputs[:1]) as batches,
        watching(model, names, lambda call: ran.add(call.name)),
    ):
        model(next(batches))
    return [name for name in names if name in ran]


def layer_scores(
    model: nn.Module,
    forget: Split,
    layers: Sequence[str],
    rule: Rule | None = None,
) -> tuple[dict[str, Tensor], Relevance]:
    """Relevance of every unit for the predicted class: layer -> (N, units), and the
    whole of what the propagation found."""
    found = relevance(
        model,
        forget.inputs,
        layers=list(layers),
        rule=rule or RULES["epsilon"],
        start="one",
    )
    if missing := [name for name in layers if name not in found.layers]:
        raise ValueError(f"no relevance reaches layer {missing[0]!r}")
    return {
        name: unit_sum(found.layers[name], get_layer(model, name)) for name in layers
    }, found


def share_of(width: int, share: float) -> int:
    """k_p of a layer of ``width`` units: at least one."""
    return max(1, round(check_inside(share) * width))


def noted_units(
    scores: Mapping[str, Tensor], share: float, top: int | None = None
) -> dict[str, Tensor]:
    """Layer -> the ``share`` of its units noted most often (fewer if fewer were)."""
    chosen = {}
    for name, found in scores.items():
        width = found.shape[1]
        k_a, k_p = counts(top, share_of(width, share), width)
        chosen[name] = frequent_units(found, k_a, k_p)
    return chosen


def random_units(
    model: nn.Module, asked: Mapping[str, int], seed: int
) -> dict[str, Tensor]:
    """Layer -> so many of its units as asked, drawn from ``seed``."""
    generator = torch.Generator().manual_seed(check_seed(seed))
    return {
        name: torch.randperm(
            num_units(get_layer(model, name)), generator=generator, device="cpu"
        )[:n]
        for name, n in asked.items()
    }


def without_units(model: nn.Module, units: Mapping[str, Tensor]) -> nn.Module:
    """A new model with the units (layer -> indices) zeroed."""
    new = copy_of(model).eval()
    for name, chosen in units.items():
        prune(new, layer=name, units=chosen)
    return new
