"""Forget a class in one call: settings chosen, the result judged, the truth told."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from torch import Tensor, nn
from torch.utils.data import Dataset

from rlap.checks import (
    check_gradients,
    check_inside,
    check_one_of,
    check_rate,
    check_seed,
)
from rlap.data.base import Split
from rlap.network.precision import own_precision
from rlap.repair.samples import Samples
from rlap.training.recipe import Recipe, check_recipe
from rlap.unlearning.account import FEWEST, Forgotten, account, exceeds
from rlap.unlearning.choosing import Trial, best, both, divided
from rlap.unlearning.common.begin import begin, check_known
from rlap.unlearning.common.splits import (
    ForgettingData,
    Label,
    hold_out,
    is_one_of,
    labels_of,
    split_samples,
)
from rlap.unlearning.registry import METHODS
from rlap.unlearning.tuning import Asked, tried

IMAGES = 36  # of the class, at most, for methods that look at a few (LRA-NPP's authors)
Data = Split | Dataset | Sequence


@own_precision()
def forget(
    model: nn.Module,
    train: Data,
    label: Label | None = None,
    *,
    samples: Tensor | None = None,
    method: str = "ssd",
    budget: float = 0.05,
    held: Data | None = None,
    share: float = 0.2,
    recipe: Recipe | None = None,
    seed: int = 0,
    examine_seed: int | None = None,
) -> Forgotten:
    """Forget a class, or samples, by a method of ``METHODS``; its settings are chosen.

    A ``share`` of ``train`` is held out. One half of it chooses: of the settings that
    cost the others no more than ``budget`` (of all, where none does) the one of the
    largest selectivity, see ``rlap.unlearning.choosing``. The other half judges. Where
    the method forgot nothing, the others lost as much, or more than ``budget``, a
    warning says so and the caller's model is what one gets back.

    Args:
        model: a classifier trained on ``train``; left as it was.
        train: a ``Split``, (inputs, labels) of tensors or arrays, or a torch Dataset.
        label: the class, or several at once.
        samples: in the place of ``label``, which samples of ``train``: indices, or
            (N,) bool. They are forgotten where they are answered as samples are that
            were never trained on, of which ``held`` has to have some. Not every method
            can.
        method: a name in ``METHODS``.
        budget: accuracy that the other classes may lose, in [0, 1].
        held: samples that the model was never trained on, to be held out in the place
            of a part of ``train``: better, for a model is too sure of what it has seen.
        recipe: of a method that trains; None takes the method's own. "retrain" wants
            the one that trained the model.
        seed: of the method.
        examine_seed: of what is held out, and of all that judges; None takes ``seed``.

    Raises ``TypeError`` and ``ValueError``, at once, for what cannot work.

    >>> found = forget(model, data, 0, method="logit_mask", share=0.5)
    >>> found.after["forget"], found.word
    (0.0, 'logit_mask forgot class 0')
    """
    check_one_of(method, METHODS, "method")
    check_rate(budget, "budget")
    seed = check_seed(seed)
    check_gradients()
    if recipe is not None:
        check_recipe(recipe)
    judge = seed if examine_seed is None else check_seed(examine_seed, "examine_seed")
    train = as_split(train, "train")
    held = None if held is None else as_split(held, "held")
    if (label is None) == (samples is None):
        raise TypeError("name the class to forget, or the samples, and not both")
    if samples is None:
        labels = labels_of(label, train.num_classes)
        trial = held_out(train, labels, held, share, judge)
    else:
        METHODS[method].check_samplewise()
        trial = of_samples(train, samples, held, judge)
    data, chosen = trial.data, METHODS[method]
    given = {"trains": chosen.trains, "single": not chosen.several}
    start = begin(model, data.forget, data.retain, samplewise=data.samplewise, **given)
    if held is not None:
        check_alike(held, train, start.classes)
    found = tried(Asked(method, model, trial, recipe, seed))
    before = both(model, trial.valid)
    within = [r for r in found.rows if not exceeds(before, r, budget)]
    row = best(within or found.rows, before, data.samplewise)
    setting = {k: v for k, v in row.items() if k not in before}
    told = {"method": method, "budget": budget, "setting": setting, "seed": judge}
    told |= {"past": chosen.out_of_reach(model)}
    result = account(model, found.make(row), data, tried=found.rows, **told)
    if not result.accepted:
        warnings.warn(result.word, stacklevel=3)
    return result


def as_split(data: Data, name: str) -> Split:
    """The data as a ``Split``; a Dataset is read into memory. ``ValueError`` for one
    with targets or weights, which methods would not heed."""
    if not isinstance(data, Split):
        return Samples(data, name=name).read()[0]
    if data.targets is not None or data.weights is not None:
        raise ValueError(
            f"{name} has targets or weights, and what forgets learns from labels: give "
            f"Split({name}.inputs, {name}.labels)"
        )
    return data


def check_alike(held: Split, train: Split, classes: int) -> None:
    """Raise ``ValueError`` for samples of another shape than those trained on, or of
    classes that the model lacks."""
    check_known(held, classes, "held")
    shapes = tuple(held.inputs.shape[1:]), tuple(train.inputs.shape[1:])
    if shapes[0] != shapes[1]:
        raise ValueError(f"samples of held are {shapes[0]}, those of train {shapes[1]}")


def of_samples(train: Split, samples: Tensor, held: Split | None, seed: int) -> Trial:
    """What is learned from, what chooses and what judges, where samples are forgotten:
    they are asked themselves, beside samples that were never trained on."""
    forgotten, retained = split_samples(train, samples)
    if held is None:
        raise ValueError(
            "to forget samples, give held=: samples that the model was never trained on"
        )
    judge, choose = hold_out(held, 0.5, seed)
    data, valid = (
        ForgettingData((), forgotten, retained, forgotten, fresh)
        for fresh in (judge, choose)
    )
    return Trial(data, forgotten, valid)


def held_out(
    train: Split, labels: Sequence[int], held: Split | None, share: float, seed: int
) -> Trial:
    """What is learned from, what chooses and what judges."""
    if held is None:
        train, held = hold_out(train, check_inside(share), seed)
    present = held.labels
    for label in labels:
        if (count := int((present == label).sum())) < 2 * FEWEST:
            raise ValueError(
                f"{count} samples of class {label} are held out and {2 * FEWEST} are "
                "needed: give more of them, or a larger share"
            )
    judge, choose = hold_out(held, 0.5, seed)
    ours = int(is_one_of(choose.labels, labels).sum())
    return divided(train, choose, judge, labels, min(IMAGES, ours // 2))
