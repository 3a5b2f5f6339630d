"""Trained anew, from weights that know no label: the same architecture, or a small head
on features; and what these say of samples that they were not trained on."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from rlap.data.base import Split
from rlap.network.copying import copy_of, draw_anew
from rlap.network.precision import own_precision
from rlap.repair.samples import Logits, Samples
from rlap.training.inference import predict
from rlap.training.loop import TrainingDiverged, train
from rlap.training.recipe import Recipe, learning_rate, make_optimizer

PARTS = 3  # of the data, each predicted by a network that has seen the others
FEWEST = 100  # samples that a fresh scorer is trained on, however large they are
SCORER_VALUES = 2**27  # float32 values of inputs that it is trained on, at most
FOLDS = 5
HIDDEN = 128  # units of the fresh head
HEAD_EPOCHS = 12


def fresh_scorer(
    network: Logits, samples: Samples, recipe: Recipe, mirrored: bool, seed: int
) -> Logits:
    """A copy with new weights, trained shortly and, if of images, on crops and flips:
    it has had no time to memorise labels."""
    new = fresh(network, seed)
    first = next(samples.batches(size=1)).inputs
    most = max(FEWEST, SCORER_VALUES // first.numel())
    rows = None
    if len(samples) > most:
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randperm(len(samples), generator=generator, device="cpu")[
            :most
        ].tolist()
    split, _ = samples.read(rows)
    train(new, split, augmented(recipe, split.inputs, mirrored), seed=seed)
    return new


def cross_fitted(
    network: Logits,
    given: Split,
    held: Split,
    recipe: Recipe,
    mirrored: bool,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Probabilities (N, C) for samples ``given`` by networks that were not trained on
    them, a third each, and their mean (M, C) for ``held``, which none has seen: where
    even a short training memorises labels, nothing else is honest."""
    recipe = augmented(recipe, given.inputs, mirrored)
    generator = torch.Generator().manual_seed(seed)
    part = torch.randperm(len(given), generator=generator, device="cpu") % PARTS
    own, others = None, []
    for i in range(PARTS):
        new = fresh(network, seed + i)
        train(new, given.subset(part != i), recipe, seed=seed)
        unseen = predict(new, given.subset(part == i).inputs).softmax(1).cpu()
        if own is None:  # the network may know more classes than the data have
            own = torch.zeros(len(given), unseen.shape[1], device="cpu")
        own[part == i] = unseen
        others.append(predict(new, held.inputs).softmax(1).cpu())
    return own, sum(other / PARTS for other in others)


def augmented(recipe: Recipe, inputs: Tensor, mirrored: bool) -> Recipe:
    """The recipe with crops and flips, where it has none and the images bear them."""
    small = inputs.dim() != 4 or min(inputs.shape[2:]) <= recipe.crop_padding
    if recipe.augment != "none" or small or not mirrored:
        return recipe
    return replace(recipe, augment="crop+flip")


def fresh(network: Logits, seed: int) -> Logits:
    """A copy with weights and statistics drawn anew. What is frozen stays (see
    ``draw_anew``), even where it was set from data: a network is taken here for what it
    answers, and judged by that. ``TypeError`` for layers that cannot draw."""
    new = copy_of(network)
    try:
        draw_anew(new, seed)
    except TypeError as error:
        told = str(error).replace("'network.", "'", 1)
        raise TypeError(f"a network must be trained anew, and {told}") from error
    return new


@dataclass
class OutOfFold:
    """Probabilities (N, C) of heads for samples that they were not trained on, and the
    heads, for other samples."""

    probabilities: Tensor
    heads: list[nn.Module]
    centre: Tensor
    scale: Tensor

    def standardised(self, features: Tensor) -> Tensor:
        """Features (M, d) as the heads take them."""
        return (features - self.centre).div_(self.scale)

    def predict(self, features: Tensor) -> Tensor:
        """Mean probabilities (M, C) of all heads for features (M, d)."""
        x = self.standardised(features)
        return sum(predict(head, x).softmax(1) for head in self.heads) / FOLDS


def centre_and_scale(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (d,) of features (N, d), by which to standardise; the
    latter is infinite where a unit does not vary beyond rounding, so that it counts
    nothing: what is silent here and fires elsewhere would drown all others.

    >>> centre_and_scale(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    (tensor([2., 5.]), tensor([1., inf]))
    """
    centre, spread = features.mean(0), features.std(0, correction=0)
    varies = spread > 1e-6 * features.abs().amax(0)
    return centre, torch.where(varies, spread, torch.inf)


def out_of_fold(
    features: Tensor,
    labels: Tensor,
    classes: int,
    keep: Tensor,
    seed: int = 0,
    faster: float = 1.0,
) -> OutOfFold:
    """Train a fresh two-layer head on all folds but one, five times.

    features: (N, d); labels: (N,); keep: (N,) bool, the samples to be trained on;
    ``faster``: by which the learning rate is multiplied.
    """
    centre, scale = centre_and_scale(features)
    made = OutOfFold(torch.zeros(len(labels), classes, device="cpu"), [], centre, scale)
    n = len(labels)
    generator = torch.Generator().manual_seed(seed)
    fold = torch.randperm(n, generator=generator, device="cpu") % FOLDS
    for i in range(FOLDS):
        head = fresh_head(features.shape[1], classes, seed + i)
        made.heads.append(fx.symbolic_trace(head))
    parts = [((fold != i) & keep).nonzero()[:, 0] for i in range(FOLDS)]
    x = made.standardised(features)
    recipe = head_recipe(n)
    recipe = replace(recipe, lr=faster * recipe.lr)
    train_together(made.heads, parts, x, labels, recipe, seed)
    for i, head in enumerate(made.heads[: fold.max() + 1]):  # of few there are fewer
        made.probabilities[fold == i] = predict(head, x[fold == i]).softmax(1)
    return made


@own_precision()
@torch.no_grad()
def train_together(
    heads: list[nn.Module],
    parts: list[Tensor],
    x: Tensor,
    labels: Tensor,
    recipe: Recipe,
    seed: int,
) -> None:
    """``train`` each head on rows of its own, ``parts``, of x (N, d) and labels (N,).

    The weights are the same but for rounding (on many processors to the last digit).
    But a step so small is mostly calls, and heads that take as many steps share all but
    the products of matrices.
    """
    size, alike = recipe.batch_size, defaultdict(list)
    for head, rows in zip(heads, parts, strict=True):
        n = len(rows)
        n -= n > size > 1 and n % size == 1  # as in ``train``: no batch of one
        generator = torch.Generator().manual_seed(seed)
        alike[-(-n // size)].append((head, rows, n, generator))
    for steps, group in alike.items():
        together = [head for head, *_ in group]
        weights = [p for head in together for p in head.parameters()]
        optimizer = make_optimizer(recipe, weights)
        for epoch in range(recipe.epochs):
            batches = []
            for _, rows, n, generator in group:
                order = torch.randperm(len(rows), generator=generator, device="cpu")
                batches.append(rows[order[:n]].split(size))
            for step, indices in enumerate(zip(*batches, strict=True)):
                rate = learning_rate(recipe, epoch * steps + step, steps)
                optimizer.param_groups[0]["lr"] = rate
                sizes = [len(index) for index in indices]
                index = torch.cat(indices)
                logits = gradients(together, x[index], labels[index], sizes)
                optimizer.step()
            if not logits.isfinite().all():
                raise TrainingDiverged("the logits of a head are not finite")


def gradients(
    heads: list[nn.Module], x: Tensor, labels: Tensor, sizes: list[int]
) -> Tensor:
    """Logits (B, C) of rows x (B, d), of which each head has so many in turn; the
    gradients of its mean cross-entropy are left for a step, as by ``Perceptron``."""
    layers = [[p for p in head.parameters()] for head in heads]
    given = x.split(sizes)
    pairs = list(zip(given, layers, strict=True))
    hidden = torch.cat([F.linear(a, w, b) for a, (w, b, *_) in pairs]).relu_()
    pairs = list(zip(hidden.split(sizes), layers, strict=True))
    logits = torch.cat([F.linear(a, w, b) for a, (*_, w, b) in pairs])
    slope = logits.softmax(1)
    slope.scatter_add_(1, labels[:, None], slope.new_full((len(x), 1), -1.0))
    slope.div_(torch.cat([slope.new_full((n, 1), n) for n in sizes]))
    back = []
    for s, (a, (*_, w, b)) in zip(slope.split(sizes), pairs, strict=True):
        w.grad, b.grad = s.T @ a, s.sum(0)
        back.append(s @ w)
    slope = torch.cat(back).mul_(hidden.sign())
    for s, a, (w, b, *_) in zip(slope.split(sizes), given, layers, strict=True):
        w.grad, b.grad = s.T @ a, s.sum(0)
    return logits


def usual_recipe(n: int) -> Recipe:
    """How a network is trained on ``n`` samples where nobody says how."""
    # some 50 steps an epoch: what is hardly trained takes right labels for wrong ones
    size = max(16, min(128, n // 50))
    return Recipe(batch_size=size, optimizer="adam", lr=1e-3, weight_decay=0.0)


def head_recipe(n: int) -> Recipe:
    """How a fresh head is trained on ``n`` samples."""
    # at least 25 steps an epoch, or few samples are hardly trained on
    size = max(16, min(256, n // 30))
    return Recipe(
        epochs=HEAD_EPOCHS, batch_size=size, optimizer="adam", lr=2e-3, weight_decay=0
    )


def fresh_head(d: int, classes: int, seed: int) -> nn.Sequential:
    """Linear, ReLU, Linear on d features, drawn from ``seed`` alone."""
    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        layers = (nn.Linear(d, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))
        return nn.Sequential(*layers)
