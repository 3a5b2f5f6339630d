"""One run of forgetting: its data, its networks, and what methods make of them."""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlap.data import Dataset, Split
from rlap.experiments import arms
from rlap.experiments.checked import ParameterError
from rlap.experiments.forgetting import ready
from rlap.experiments.forgetting.parameters import ForgettingParameters
from rlap.network.layers import evaluating, model_device
from rlap.training.inference import predict
from rlap.training.loop import History, train
from rlap.training.recipe import Recipe
from rlap.unlearning import METHODS
from rlap.unlearning.choosing import Trial, divided
from rlap.unlearning.choosing import both as both  # beside the networks, for notebooks
from rlap.unlearning.common.splits import hold_out
from rlap.unlearning.examiner.cost import Cost, measured
from rlap.unlearning.methods.lra_npp import SELECTIONS, chosen_units
from rlap.unlearning.settings import Head

HELD_OUT = 0.2  # of the training samples: never trained on
# fp32, so that a class forgotten on one machine stands beside another's on any other
RECIPE = Recipe(
    batch_size=64, schedule="onecycle", augment="crop+flip", precision="fp32"
)
TUNING = replace(RECIPE, lr=0.01, schedule="cosine")
GOLD = ("retrained", "retrained again")  # the standard: two seeds without the class


@dataclass(frozen=True)
class Case(Trial):
    """The data of a run that forgets one class: see ``Trial``.

    ``train``: all that the original is trained on; ``pool``: all held-out samples of
    the class, the ``images`` first, for what is judged on test samples and chooses
    nothing.
    """

    train: Split
    pool: Split

    @classmethod
    def of(cls, dataset: Dataset, label: int, images: int, seed: int) -> Case:
        """Hold samples out and divide by class; ``ParameterError`` if too few are left
        beside so many ``images``."""
        learned, held = hold_out(dataset.train, HELD_OUT, seed)
        ours = held.labels == label
        if (count := int(ours.sum())) <= images:
            raise ParameterError(
                f"of the class to forget {count} samples are held out: take fewer "
                f"than {count} images, or a larger train_size"
            )
        trial = divided(learned, held, dataset.test, label, images)
        return cls(**vars(trial), train=learned, pool=held.subset(ours))


def fit(
    run: ForgettingParameters,
    split: Split,
    device: torch.device | str,
    *,
    seed: int,
    penalty: Callable[[nn.Module], Tensor] | None = None,
) -> tuple[nn.Module, History]:
    """A fresh network trained on ``split``, everything drawn from ``seed``; the same
    one from a pack at hand that holds it (see ``ready``)."""
    recipe = recipe_of(run)
    found = ready.taken(run, split, recipe, device, seed, penalty)
    return found or arms.fit(run, split, recipe, device, seed=seed, penalty=penalty)


def recipe_of(run: ForgettingParameters) -> Recipe:
    """How the original and the retrained networks of a run are trained."""
    recipe = replace(RECIPE, epochs=run.epochs, lr=run.lr)
    if run.model == "vit":  # plain SGD hardly trains one; Adam's rates are smaller
        recipe = replace(recipe, optimizer="adam", lr=run.lr / 50)
    return recipe


def penalty_share(
    model: nn.Module,
    split: Split,
    penalty: Callable[[nn.Module], Tensor],
    *,
    steps: int = 5,
    rounds: int = 10,
) -> float:
    """Seconds of training with the penalty as a share of those without.

    Copies of ``model`` train for up to ``steps`` batches each, with and without in
    turn; the quickest of ``rounds`` counts (after one to warm up), for load only adds.
    Seconds of whole networks would not do: they may have been trained at other times.
    """
    # of a small split a quarter: more would be as much as all its trainings
    count = min(math.ceil(len(split) / 4), steps * RECIPE.batch_size)
    few = split.subset(torch.arange(count))
    recipe = replace(RECIPE, epochs=1, lr=1e-3, schedule="constant")
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds + 1):
        for given, found in seconds.items():
            net = copy.deepcopy(model)
            history = train(net, few, recipe, penalty=penalty if given else None)
            found.append(sum(history.seconds))
    return min(seconds[True][1:]) / min(seconds[False][1:])


def retrained(
    run: ForgettingParameters, case: Case, device: torch.device | str, **options: Any
) -> dict[str, tuple[nn.Module, History]]:
    """Two networks that never saw the class: the original's recipe, other seeds."""
    return {
        name: fit(run, split, device, seed=seed, **options)
        for name, (split, seed) in trainings(run, case).items()
        if name in GOLD
    }


def trainings(run: ForgettingParameters, case: Case) -> dict[str, tuple[Split, int]]:
    """What the three networks of a run are trained on, and their seeds."""
    found = {"original": (case.train, run.seed)}
    for i, name in enumerate(GOLD, 1):
        found[name] = case.data.retain, run.seed + 1000 * i
    return found


def continued(model: nn.Module, split: Split, *, recipe: Recipe, seed: int) -> Made:
    """A copy that is trained on, on all samples: what the methods that train gain by
    mere training, with nothing forgotten."""
    new = copy.deepcopy(model)
    _, cost = measured(
        lambda: train(new, split, recipe, seed=seed), model_device(model)
    )
    return Made(new, cost, "both")


@dataclass(frozen=True)
class Made:
    """A network that a method made, what that took, and what it looked at."""

    model: nn.Module
    cost: Cost
    data: str


def make(
    method: str, model: nn.Module, forget: Split, retain: Split, **options: Any
) -> Made:
    """The result of a method of ``rlap.unlearning.METHODS``, measured."""
    chosen = METHODS[method]
    device = next(model.parameters()).device
    new, cost = measured(lambda: chosen(model, forget, retain, **options), device)
    return Made(new, cost, chosen.data)


def repeated(
    call: Callable[[], nn.Module],
    data: str,
    *,
    times: int = 5,
    enough: float = 2.0,
    before: Cost | None = None,
) -> Made:
    """The same for a call that is cheap to repeat: the median seconds of ``times``
    calls, or of as many as fit in ``enough`` seconds, and the first one's memory.

    ``before`` is the cost of what was computed once and is needed each time.
    """
    found = [measured(call)]
    while len(found) < times and sum(cost.seconds for _, cost in found) < enough:
        found.append(measured(call, memory=False))
    seconds = statistics.median(cost.seconds for _, cost in found)
    # what a call needs the first time, it may keep
    peaks = [found[0][1].peak_bytes]
    if before is not None:
        seconds += before.seconds
        peaks.append(before.peak_bytes)
    peak = None if None in peaks else max(peaks)
    return Made(found[-1][0], Cost(seconds, peak), data)


def of_history(model: nn.Module, history: History, data: str) -> Made:
    """The same for a network that was trained here, or by an earlier run: its seconds
    are known then, its memory is not."""
    return Made(model, Cost(history.total_seconds, None), data)


def class_accuracy(table: Tensor) -> Tensor:
    """Share of each class's samples that are classified as labelled, (C,), from a
    ``confusion_table``."""
    return table.diagonal().double() / table.sum(1).clamp(min=1)


def confusion_table(
    model: nn.Module, split: Split, logits: Tensor | None = None
) -> Tensor:
    """Samples by true class (rows) and predicted class, (C, C) int64; ``logits`` (N, C)
    are the model's where they are known."""
    logits = predict(model, split.inputs) if logits is None else logits
    c, predicted = split.num_classes, logits.argmax(1).cpu()
    table = torch.bincount(split.labels.cpu() * c + predicted, minlength=c * c)
    return table.view(c, c)


def selection_curves(
    model: nn.Module,
    case: Case,
    counts: Sequence[int],
    *,
    top: int | None = None,
    seed: int = 0,
) -> dict[str, list[dict[str, float]]]:
    """Accuracy on the held-out samples when so many units are zeroed, by selection.

    The edit of ``forget_lra_npp`` (scope "all"). "relevance" may have noted fewer units
    than asked for; "units" is how many it were.
    """
    head = Head(model, case.valid)
    curves: dict[str, list[dict[str, float]]] = {}
    for name in SELECTIONS:
        given = {"top": top, "prune_units": max(counts), "select": name, "seed": seed}
        units = chosen_units(model, case.images, case.data.retain, **given)
        curves[name] = [
            {"units": len(units[:count]), **head.without(units[:count])}
            for count in sorted(counts)
        ]
    return curves


def synthetic_images(
    model: nn.Module, like: Split, label: int, *, steps: int = 64, seed: int = 0
) -> Split:
    """Images that ``model`` takes for class ``label``, made from noise by Adam on its
    loss: as many and as large as ``like``, of which nothing else is used. Values stay
    within four standard deviations of normalised data."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(like.inputs.shape, generator=generator)
    x = x.to(model_device(model)).requires_grad_()
    labels = torch.full((len(x),), label, device=x.device)
    optimiser = torch.optim.Adam([x], lr=0.05)
    with torch.enable_grad(), evaluating(model):
        for _ in range(steps):
            optimiser.zero_grad()
            loss = F.cross_entropy(model(x), labels)
            (x.grad,) = torch.autograd.grad(loss, [x])
            optimiser.step()
            with torch.no_grad():
                x.clamp_(-4, 4)
    return replace(like, inputs=x.detach(), labels=labels)


def last_layer_controls(
    model: nn.Module,
    case: Case,
    *,
    images: Sequence[int],
    scope: str = "all",
    seed: int = 0,
    **options: Any,
) -> dict[str, dict[str, float]]:
    """Accuracy on test samples after LRA-NPP with other selections, with images that
    were trained on or that the network itself made, and with other numbers of
    ``images``; ``options`` are those of ``chosen_units``. Where there are too few
    images, all there are are taken."""
    head, data = Head(model, case.data), case.data
    trained_on = data.forget.subset(
        torch.arange(min(len(case.images), len(data.forget)))
    )
    asked = {name: (case.images, name) for name in SELECTIONS}
    asked["training images"] = (trained_on, "relevance")
    made = synthetic_images(model, case.images, data.label, seed=seed)
    asked["synthetic images"] = (made, "relevance")
    for n in images:
        few = case.pool.subset(torch.arange(min(n, len(case.pool))))
        asked[f"{n} images" if n > 1 else "1 image"] = (few, "relevance")
    given = {"seed": seed, **options}
    return {
        name: head.without(
            chosen_units(model, looked_at, data.retain, select=select, **given), scope
        )
        for name, (looked_at, select) in asked.items()
    }
