"""Bad data, and the truth about them, which the arms do not see."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

import rlap
from rlap.corruption.corrupted import INPUT_KINDS, corrupt
from rlap.corruption.streams import stream
from rlap.data import Dataset, Split, stratified_indices
from rlap.data.digits import load_digits
from rlap.experiments.bad_data.parameters import (
    CLEAN,
    HUMAN,
    REPLACED,
    BadDataParameters,
)
from rlap.experiments.plan import image_recipe
from rlap.experiments.protocol import SPEECH
from rlap.finetuning import FULL_RECIPE
from rlap.training.recipe import Recipe

HELD_OUT = 1 / 6


@dataclass(frozen=True)
class Ground:
    """What the arms of one run share.

    Attributes:
        run: resolved parameters.
        data: the data set, before anything went wrong.
        given, held: what the network is trained on, and a slice as bad that it is not.
        bad: (N,) bool, the samples of ``given`` with a wrong label or a bad input.
        true: (N,) their true classes.
        recipe: one training; "as it came" has one with as many epochs.
    """

    run: BadDataParameters
    data: Dataset
    given: Split
    held: Split
    bad: Tensor
    true: Tensor
    recipe: Recipe

    @property
    def first_recipe(self) -> Recipe:
        """Of the network as it came: where it has memorised its labels, three times as
        long and without augmentation."""
        if not self.run.memorised:
            return self.recipe
        return replace(self.recipe, epochs=3 * self.recipe.epochs, augment="none")

    @property
    def finetuning(self) -> Recipe | None:
        """Of the paper's method: None, its own thirty epochs; in the smoke tier, where
        these would take longer than all else, as few as of any other training."""
        if self.run.tier != "smoke":
            return None
        return replace(FULL_RECIPE, epochs=self.recipe.epochs)


def prepare(run: BadDataParameters) -> Ground:
    """Load the data of ``run`` (resolved), spoil them, and hold a slice out."""
    sizes = {"train_size": run.train_size, "test_size": run.test_size}
    data = rlap.load(run.data_set, **sizes, seed=run.seed, **run.data_options)
    true = data.train.labels
    if run.kind in HUMAN:
        clean = rlap.load(run.dataset, train_size=run.train_size, seed=run.seed)
        true = clean.train.labels
    spoilt, bad = spoil(data.train, run, true)
    held = torch.zeros(len(true), dtype=torch.bool)
    size = max(round(HELD_OUT * len(true)), len(true.unique()))
    held[stratified_indices(spoilt.labels, size, run.seed)] = True
    return Ground(
        run, data, spoilt.subset(~held), spoilt.subset(held), bad[~held], true[~held],
        recipe_of(run),
    )  # fmt: skip


def recipe_of(run: BadDataParameters) -> Recipe:
    """A one-cycle training; images are cropped and flipped (digits cropped alone)."""
    if run.dataset == SPEECH:
        adam = Recipe(epochs=run.epochs, lr=2e-3, optimizer="adam", weight_decay=0.0)
        return replace(adam, schedule="cosine", precision="fp32")
    augment = "crop+flip" if run.dataset != "digits" else "none"
    recipe = replace(image_recipe(run.epochs, "onecycle"), precision="auto")
    return replace(recipe, augment=augment)


def spoil(split: Split, run: BadDataParameters, true: Tensor) -> tuple[Split, Tensor]:
    """The split with what ``run`` says gone wrong, and (N,) bool where."""
    if run.kind == CLEAN or run.kind in HUMAN:
        return split, split.labels != true
    if run.kind in REPLACED:
        return replaced(split, run)
    level = run.level if run.kind in INPUT_KINDS else None
    made = corrupt(split, kind=run.kind, rate=run.rate, level=level, seed=run.seed)
    return made.split, made.is_corrupted


def replaced(split: Split, run: BadDataParameters) -> tuple[Split, Tensor]:
    """A share of the inputs replaced: by zeros before normalisation ("black"), by their
    own values in another order ("shuffled"), by enlarged digits ("foreign")."""
    generator = stream(run.seed, "replaced")
    chosen = torch.randperm(len(split), generator=generator)
    chosen = chosen[: round(run.rate * len(split))]
    inputs = split.inputs.clone()
    some = inputs[chosen]
    if run.kind == "shuffled":
        flat = some.flatten(2)
        order = torch.rand(len(some), 1, flat.shape[2], generator=generator).argsort(2)
        some = flat.gather(2, order.expand_as(flat)).view_as(some)
    else:
        some = torch.zeros_like(some)
        if run.kind == "foreign":
            found = load_digits().train
            digits = found.normalisation.undo(found.inputs).mean(1, keepdim=True)
            at = torch.randint(len(digits), (len(some),), generator=generator)
            some = some + F.interpolate(digits[at], size=some.shape[2:])
        if split.normalisation is not None:
            some = split.normalisation.apply(some)
    inputs[chosen] = some
    bad = torch.zeros(len(split), dtype=torch.bool)
    bad[chosen] = True
    return replace(split, inputs=inputs), bad
