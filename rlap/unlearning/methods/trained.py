"""Baselines that train: retraining, and five ways to go on training the model.

All take ``recipe`` and ``seed`` and train with ``rlap.train``; the default recipe of
the latter five is ours (two epochs, a small rate that goes to zero), since published
ones are tuned per network. Each returns a new model.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlap.checks import check_level, check_rate, check_seed
from rlap.data.base import Split
from rlap.network.copying import copy_of, draw_anew
from rlap.network.layers import (
    model_device,
    placing,
    preserved_random_state,
    reading,
)
from rlap.repair.retraining import augmented
from rlap.training.inference import accuracy
from rlap.training.loop import train
from rlap.training.recipe import Recipe, check_recipe
from rlap.unlearning.common.begin import begin
from rlap.unlearning.common.splits import together

TUNING = Recipe(epochs=2, batch_size=64, lr=0.01, schedule="cosine")
RETRAINING = Recipe(epochs=8)  # with crops and flips, of images
HALF_TRAINED = 0.1  # of accuracy on the retain set below the model's: no yardstick


def forget_retrain(
    model: nn.Module,
    forget: Split,
    retain: Split,
    *,
    recipe: Recipe | None = None,
    build: Callable[[], nn.Module] | None = None,
    seed: int = 0,
    samplewise: bool = False,
) -> nn.Module:
    """Train from scratch on the retain set: what every other method is measured by.

    ``recipe`` should be the one that trained ``model``; the default, with crops and
    flips where inputs are images (N, C, H, W), may leave a network half trained, which
    warns. ``build`` makes a fresh network; without it every layer of a copy draws new
    weights from ``seed``. Raises ``TypeError`` for a layer that cannot, and
    ``ValueError`` for frozen parameters, which were set from data. Source: the
    definition of exact unlearning.

    >>> model, split = nn.Linear(2, 3), Split(torch.rand(9, 2), torch.arange(9) % 3)
    >>> retain = split.subset([0, 1, 3, 4, 6, 7])
    >>> recipe = Recipe(epochs=1)  # the one that trained the model
    >>> forget_retrain(model, split.subset([2, 5, 8]), retain, recipe=recipe)
    Linear(in_features=2, out_features=3, bias=True)
    """
    begin(model, forget, retain, both=True, trains=True, samplewise=samplewise)
    seed = check_seed(seed)
    if recipe is None:
        recipe = augmented(RETRAINING, retain.inputs, mirrored=True)
    device = model_device(model)
    with preserved_random_state(torch.device("cpu"), seed):
        new = build() if build is not None else fresh(model, seed)
    train(new, retain, recipe, device=device, seed=seed)
    before, after = accuracy(model, retain), accuracy(new, retain)
    if after < before - HALF_TRAINED:
        warnings.warn(
            f"the retrained network is right on {after:.0%} of the retain set, the "
            f"model on {before:.0%}: give recipe=, the one that trained the model",
            stacklevel=2,
        )
    return new


def fresh(model: nn.Module, seed: int) -> nn.Module:
    """A copy, on the CPU, with every weight and statistic drawn anew. Frozen ones would
    stay (see ``draw_anew``) and may know what is to be forgotten: ``ValueError``."""
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            raise ValueError(
                f"{name!r} is frozen and would stay, with all that it was set from; "
                "give build="
            )
    new = copy_of(model).cpu()
    try:
        draw_anew(new, seed)
    except TypeError as error:
        raise TypeError(f"{error}, or give build=") from error
    return new


def forget_fine_tune(
    model: nn.Module,
    forget: Split,
    retain: Split,
    *,
    recipe: Recipe = TUNING,
    seed: int = 0,
    samplewise: bool = False,
) -> nn.Module:
    """Go on training on the retain set alone. Source: the usual control, for example
    Golatkar et al. (2020)."""
    new = begin(
        model, forget, retain, both=True, trains=True, samplewise=samplewise
    ).model
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
    samplewise: bool = False,
) -> nn.Module:
    """Descend on the retain set and ascend on the forget set.

    The loss is CE(retain) - (1 - alpha) / alpha CE(forget), which is
    alpha CE(retain) - (1 - alpha) CE(forget) divided by alpha in (0, 1]; a sample whose
    CE exceeds ``ceiling`` is left alone, for the loss has no lower bound. Both batches
    pass in train mode, the one to forget last: at BatchNorm's momentum of 0.1, 10 parts
    in 19 of the running statistics come from the class to forget in the end (9 if it
    went first). Source: Kurmanji et al. (NeurIPS 2023), NegGrad+; the ceiling is ours.
    """
    new = begin(
        model, forget, retain, both=True, trains=True, samplewise=samplewise
    ).model
    if check_rate(alpha, "alpha") == 0:
        raise ValueError("alpha must be above 0: nothing would be retained")
    check_level(ceiling, "ceiling")
    check_recipe(recipe)
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
        self.place: Callable[[Tensor], Tensor] | None = None  # depends on the model

    def __call__(self, model: nn.Module) -> Tensor:
        if self.place is None:
            self.place = placing(model, self.forget.inputs, training=True)
        if not self.queue:
            order = torch.randperm(
                len(self.forget), generator=self.generator, device="cpu"
            )
            self.queue = list(order.split(self.batch_size))
            if len(self.queue) > 1 and len(self.queue[-1]) == 1:
                self.queue.pop()  # BatchNorm has no variance over one sample
        index = self.queue.pop(0).to(self.forget.inputs.device)
        logits = model(self.place(self.forget.inputs[index])).float()
        losses = F.cross_entropy(logits, self.forget.labels[index], reduction="none")
        return -self.strength * losses.clamp(max=self.ceiling).mean()


def forget_random_labels(
    model: nn.Module,
    forget: Split,
    retain: Split,
    *,
    recipe: Recipe = TUNING,
    seed: int = 0,
    samplewise: bool = False,
) -> nn.Module:
    """Train on the retain set and the forget set with random wrong labels, mixed.

    The labels are drawn once, uniformly over the other classes; ``samplewise`` over
    those but a sample's own. Source: Golatkar et al.
    (2020); "amnesiac" unlearning, Graves et al. (2021).
    """
    new, labels, classes, _ = begin(
        model, forget, retain, both=True, trains=True, samplewise=samplewise
    )
    of = forget.labels if samplewise else labels
    wrong = wrong_labels(len(forget), of, classes, seed)
    split = together([retain, forget], [retain.labels, wrong], classes)
    train(new, split, recipe, seed=seed)
    return new


def wrong_labels(
    n: int, labels: Sequence[int] | Tensor, classes: int, seed: int
) -> Tensor:
    """(n,) labels drawn uniformly from all classes but ``labels``, or but each sample's
    own, where they are a tensor (n,)."""
    generator = torch.Generator().manual_seed(check_seed(seed))
    if isinstance(labels, Tensor):
        shifts = torch.randint(1, classes, (n,), generator=generator, device="cpu")
        return (labels.cpu() + shifts) % classes
    after = [(labels[0] + shift) % classes for shift in range(1, classes)]
    others = torch.tensor([each for each in after if each not in labels], device="cpu")
    return others[torch.randint(len(others), (n,), generator=generator, device="cpu")]


def forget_boundary_shrink(
    model: nn.Module,
    forget: Split,
    retain: Split | None = None,
    *,
    bound: float = 0.1,
    batchnorm: str = "train",
    recipe: Recipe = TUNING,
    seed: int = 0,
    samplewise: bool = False,
) -> nn.Module:
    """Train the forget set to the nearest wrong class; the retain set is not used.

    Nearest is the most likely class but the true one after one step up the sign of
    the input's gradient (FGSM) on the original model. The step is ``bound`` in pixels
    of [0, 1], where it also ends; inputs of a split without a normalisation have no
    pixels, and ``bound`` is in their own units. With ``batchnorm`` "train", as in the
    authors' code, running statistics move to those of the class alone, which costs the
    others more than the training does; "eval" leaves them (see ``train``). Source:
    Chen et al. (CVPR 2023), whose bound is 0.1 in pixels; leaving out the true class is
    ours.
    """
    new, _, classes, _ = begin(
        model, forget, retain, trains=True, samplewise=samplewise
    )
    nearest = nearest_wrong(new, forget, bound, samplewise)
    split = together([forget], [nearest], classes)
    train(new, split, recipe, seed=seed, batchnorm=batchnorm)
    return new


def nearest_wrong(
    model: nn.Module, split: Split, bound: float, samplewise: bool = False
) -> Tensor:
    """(N,) most likely class that is not to be forgotten (``samplewise``: but the
    sample's own), after an FGSM step, on the inputs' device."""
    check_level(bound, "bound")
    of, found, first = split.normalisation, [], 0

    def step(x: Tensor, direction: Tensor) -> Tensor:
        if of is None:
            return x + bound * direction
        return of.apply_((of.undo(x) + bound * direction).clamp_(0, 1))

    with torch.enable_grad(), reading(model, split.inputs) as batches:
        for x in batches:
            y, first = split.labels[first : first + len(x)], first + len(x)
            leaf = x.detach().clone().requires_grad_()
            # a copy: no model may work in place on a leaf
            logits = model(leaf.clone())
            loss = F.cross_entropy(logits, y.to(x.device), reduction="sum")
            (gradient,) = torch.autograd.grad(loss, leaf)
            with torch.no_grad():
                logits = model(step(x, gradient.sign()))
                if samplewise:
                    logits.scatter_(1, y.to(x.device)[:, None], -torch.inf)
                else:
                    logits[:, split.labels.unique().to(x.device)] = -torch.inf
                found.append(logits.argmax(1))
    return torch.cat(found).to(split.inputs.device)
