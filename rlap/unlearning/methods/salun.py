"""SalUn: train on random labels, but move only the weights that matter for the class.

Source: Fan et al. (ICLR 2024).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlap.checks import check_rate
from rlap.data.base import Split
from rlap.network.layers import (
    apart,
    evaluating,
    model_device,
    pass_size,
    placing,
)
from rlap.network.modes import trained_parameters
from rlap.training.loop import train
from rlap.training.recipe import Recipe
from rlap.unlearning.common.begin import begin
from rlap.unlearning.common.splits import together
from rlap.unlearning.methods.trained import TUNING, wrong_labels


def forget_salun(
    model: nn.Module,
    forget: Split,
    retain: Split,
    *,
    share: float = 0.5,
    recipe: Recipe = TUNING,
    seed: int = 0,
    samplewise: bool = False,
) -> nn.Module:
    """Random labels, but only the salient weights may move.

    Salient is the ``share`` of all weights whose gradient of the forget set's CE, at
    the start and in eval mode, is largest in absolute value. All others are given back
    their values after every step, whatever momentum and weight decay did. Raises
    ``ValueError`` where all parameters are frozen. Source: Fan et al. (ICLR 2024), with
    their random-label loss.

    >>> model, split = nn.Linear(2, 3), Split(torch.rand(9, 2), torch.arange(9) % 3)
    >>> forget_salun(model, split.subset([2, 5, 8]), split.subset([0, 1, 3]))
    Linear(in_features=2, out_features=3, bias=True)
    """
    new, labels, classes, _ = begin(
        model, forget, retain, both=True, trains=True, samplewise=samplewise
    )
    kept = Unsalient.of(new, saliency(new, forget, share))
    of = forget.labels if samplewise else labels
    wrong = wrong_labels(len(forget), of, classes, seed)
    split = together([retain, forget], [retain.labels, wrong], classes)
    train(new, split, recipe, seed=seed, mask=kept)
    return new


def saliency(model: nn.Module, forget: Split, share: float) -> dict[str, Tensor]:
    """Parameter -> bool mask of the ``share`` of weights with the largest gradients."""
    check_rate(share, "share")
    gradient = class_gradient(model, forget)
    sizes = torch.cat([g.abs().flatten() for g in gradient.values()])
    count = round(share * len(sizes))
    chosen = torch.zeros_like(sizes, dtype=torch.bool)
    chosen[sizes.topk(count).indices] = True
    parts = chosen.split([g.numel() for g in gradient.values()])
    return {
        name: part.view_as(g)
        for (name, g), part in zip(gradient.items(), parts, strict=True)
    }


def class_gradient(model: nn.Module, split: Split) -> dict[str, Tensor]:
    """Gradient of the summed CE over ``split``, eval mode, of trainable parameters."""
    trained = trained_parameters(model)
    parameters = list(trained.values())
    total = [torch.zeros_like(p) for p in parameters]
    size, device = pass_size(split.inputs, None), model_device(model)
    place = placing(model, split.inputs, training=True)
    with torch.enable_grad(), evaluating(model):
        batches = zip(split.inputs.split(size), split.labels.split(size), strict=True)
        for x, y in batches:
            logits = model(apart(place(x), x))
            loss = F.cross_entropy(logits, y.to(device), reduction="sum")
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            for sums, g in zip(total, gradients, strict=True):
                if g is not None:  # the forward pass may not use a parameter
                    sums += g
    return dict(zip(trained, total, strict=True))


@dataclass
class Unsalient:
    """Weights that keep their values: a mask for ``train``."""

    salient: dict[str, Tensor]
    values: dict[str, Tensor]

    @classmethod
    def of(cls, model: nn.Module, salient: dict[str, Tensor]) -> Unsalient:
        """Remember the values that the weights have now."""
        values = {name: model.get_parameter(name).detach().clone() for name in salient}
        return cls(salient, values)

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Give every weight that is not salient its value back, in place."""
        for name, salient in self.salient.items():
            parameter = model.get_parameter(name)
            parameter.copy_(torch.where(salient, parameter, self.values[name]))

    def holder(self, model: nn.Module) -> Callable[[], None]:
        """``apply`` for this model, to be called after each step."""
        return partial(self.apply, model)

    def describe(self) -> tuple:
        """What is masked, for the identity of a checkpoint."""
        return ("salient", *(int(mask.sum()) for mask in self.salient.values()))
