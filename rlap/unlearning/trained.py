"""Baselines that train: retraining, and five ways to go on training the model.

All take ``recipe`` and ``seed`` and train with ``rlap.train``; the default recipe of
the latter five is ours (two epochs, a small rate that goes to zero), since published
ones are tuned per network. Each returns a new model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlap.checks import check_level, check_rate, check_seed
from rlap.data.base import Split
from rlap.layers import (
    channels_last,
    evaluating,
    model_device,
    pass_size,
    preserved_random_state,
)
from rlap.recipe import Recipe
from rlap.training import train
from rlap.unlearning.common import begin, together

TUNING = Recipe(epochs=2, batch_size=64, lr=0.01, schedule="cosine")
RETRAINING = Recipe(epochs=8, augment="crop+flip")


def forget_retrain(
    model: nn.Module,
    forget: Split,
    retain: Split,
    *,
    recipe: Recipe = RETRAINING,
    build: Callable[[], nn.Module] | None = None,
    seed: int = 0,
) -> nn.Module:
    """Train from scratch on the retain set: what every other method is measured by.

    ``recipe`` should be the one that trained ``model``. ``build`` makes a fresh
    network; without it every layer of a copy draws new weights from ``seed``. Raises
    ``TypeError`` for a layer that cannot, and ``ValueError`` for frozen parameters,
    which were set from data. Source: the definition of exact unlearning.
    """
    begin(model, forget, retain)
    check_seed(seed)
    device = model_device(model)
    with preserved_random_state(torch.device("cpu"), seed):
        new = build() if build is not None else fresh(model)
    train(new, retain, recipe, device=device, seed=seed)
    return new


def fresh(model: nn.Module) -> nn.Module:
    """A copy, on the CPU, with every weight and statistic drawn or set anew."""
    new = copy.deepcopy(model).cpu()
    for name, module in new.named_modules():
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        if not own:
            continue
        if not hasattr(module, "reset_parameters"):
            raise TypeError(
                f"{type(module).__name__} {name!r} cannot reset; give build="
            )
        if not all(p.requires_grad for p in module.parameters(recurse=False)):
            raise ValueError(
                f"layer {name!r} is frozen, so random weights would stay; give build="
            )
        module.reset_parameters()
    return new


def forget_fine_tune(
    model: nn.Module,
    forget: Split,
    retain: Split,
    *,
    recipe: Recipe = TUNING,
    seed: int = 0,
) -> nn.Module:
    """Go on training on the retain set alone. Source: the usual control, for example
    Golatkar et al. (2020)."""
    new, _, _ = begin(model, forget, retain)
    train(new, retain, recipe, seed=seed)
    return new


def forget_neggrad_plus(
    model: nn.Module,
    forget: Split,
    retain: Split,
    *,
    alpha: float = 0.95,
    ceiling: float = 10.0,
    recipe: Recipe = TUNING,
    seed: int = 0,
) -> nn.Module:
    """Descend on the retain set and ascend on the forget set.

    The loss is CE(retain) - (1 - alpha) / alpha CE(forget), which is
    alpha CE(retain) - (1 - alpha) CE(forget) divided by alpha in (0, 1]; a sample whose
    CE exceeds ``ceiling`` is left alone, for the loss has no lower bound. Source:
    Kurmanji et al. (NeurIPS 2023), NegGrad+; the ceiling is ours.
    """
    new, _, _ = begin(model, forget, retain)
    if check_rate(alpha, "alpha") == 0:
        raise ValueError("alpha must be above 0: nothing would be retained")
    check_level(ceiling, "ceiling")
    forget = forget.to(model_device(new))
    ascent = Ascent(forget, (1 - alpha) / alpha, ceiling, recipe.batch_size, seed)
    train(new, retain, recipe, seed=seed, penalty=ascent)
    return new


@dataclass
class Ascent:
    """A penalty for ``train``: minus strength times the CE of a batch to forget."""

    forget: Split = field(repr=False)
    strength: float
    ceiling: float
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(check_seed(self.seed))
        self.queue: list[Tensor] = []

    def __call__(self, model: nn.Module) -> Tensor:
        if not self.queue:
            order = torch.randperm(len(self.forget), generator=self.generator)
            self.queue = list(order.split(self.batch_size))
            if len(self.queue) > 1 and len(self.queue[-1]) == 1:
                self.queue.pop()  # BatchNorm has no variance over one sample
        index = self.queue.pop(0).to(self.forget.inputs.device)
        logits = model(channels_last(self.forget.inputs[index])).float()
        losses = F.cross_entropy(logits, self.forget.labels[index], reduction="none")
        return -self.strength * losses.clamp(max=self.ceiling).mean()


def forget_random_labels(
    model: nn.Module,
    forget: Split,
    retain: Split,
    *,
    recipe: Recipe = TUNING,
    seed: int = 0,
) -> nn.Module:
    """Train on the retain set and the forget set with random wrong labels, mixed.

    The labels are drawn once, uniformly over the other classes. Source: Golatkar et al.
    (2020); "amnesiac" unlearning, Graves et al. (2021).
    """
    new, label, last = begin(model, forget, retain)
    classes = new.get_submodule(last).out_features
    wrong = wrong_labels(len(forget), label, classes, seed)
    split = together([retain, forget], [retain.labels, wrong])
    train(new, split, recipe, seed=seed)
    return new


def wrong_labels(n: int, label: int, classes: int, seed: int) -> Tensor:
    """(n,) labels drawn uniformly from all classes but ``label``."""
    generator = torch.Generator().manual_seed(check_seed(seed))
    shift = torch.randint(1, classes, (n,), generator=generator)
    return (label + shift) % classes


def forget_salun(
    model: nn.Module,
    forget: Split,
    retain: Split,
    *,
    share: float = 0.5,
    recipe: Recipe = TUNING,
    seed: int = 0,
) -> nn.Module:
    """Random labels, but only the salient weights may move.

    Salient is the ``share`` of all weights whose gradient of the forget set's CE, at
    the start and in eval mode, is largest in absolute value. All others are given back
    their values after every step, whatever momentum and weight decay did. Source: Fan
    et al. (ICLR 2024), with their random-label loss.
    """
    new, label, last = begin(model, forget, retain)
    kept = Unsalient.of(new, saliency(new, forget, share))
    classes = new.get_submodule(last).out_features
    wrong = wrong_labels(len(forget), label, classes, seed)
    split = together([retain, forget], [retain.labels, wrong])
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
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    parameters = [model.get_parameter(name) for name in names]
    total = [torch.zeros_like(p) for p in parameters]
    size, device = pass_size(split.inputs, None), model_device(model)
    with torch.enable_grad(), evaluating(model):
        batches = zip(split.inputs.split(size), split.labels.split(size), strict=True)
        for x, y in batches:
            logits = model(channels_last(x.to(device)))
            loss = F.cross_entropy(logits, y.to(device), reduction="sum")
            for sums, g in zip(
                total, torch.autograd.grad(loss, parameters), strict=True
            ):
                sums += g
    return dict(zip(names, total, strict=True))


class Mask(Protocol):
    """What ``train`` wants of a mask."""

    def apply(self, model: nn.Module) -> None: ...
    def describe(self) -> tuple: ...


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

    def describe(self) -> tuple:
        """What is masked, for the identity of a checkpoint."""
        return ("salient", *(int(mask.sum()) for mask in self.salient.values()))


def forget_boundary_shrink(
    model: nn.Module,
    forget: Split,
    retain: Split | None = None,
    *,
    bound: float = 0.1,
    recipe: Recipe = TUNING,
    seed: int = 0,
) -> nn.Module:
    """Train the forget set to the nearest wrong class; the retain set is not used.

    Nearest is the most likely class but the true one after one step of size ``bound``
    up the sign of the input's gradient (FGSM) on the original model. Source: Chen et
    al. (CVPR 2023); leaving out the true class is ours.
    """
    new, _, _ = begin(model, forget, retain)
    labels = nearest_wrong(new, forget, bound)
    train(new, together([forget], [labels]), recipe, seed=seed)
    return new


def nearest_wrong(model: nn.Module, split: Split, bound: float) -> Tensor:
    """(N,) most likely wrong class after an FGSM step, on the inputs' device."""
    check_level(bound, "bound")
    size, device, found = pass_size(split.inputs, None), model_device(model), []
    with torch.enable_grad(), evaluating(model):
        batches = zip(split.inputs.split(size), split.labels.split(size), strict=True)
        for x, y in batches:
            x, y = channels_last(x.to(device)), y.to(device)[:, None]
            leaf = x.detach().clone().requires_grad_()
            loss = F.cross_entropy(model(leaf), y[:, 0], reduction="sum")
            (gradient,) = torch.autograd.grad(loss, leaf)
            with torch.no_grad():
                logits = model(x + bound * gradient.sign())
                logits.scatter_(1, y, -torch.inf)
                found.append(logits.argmax(1))
    return torch.cat(found).to(split.inputs.device)
