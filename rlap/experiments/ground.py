"""What all arms of one run stand on: data, noise, the first network, its partition.

``prepare(run)`` goes through the stages as the walkthrough does, once; the arms
(``rlap.experiments.contest``) share what comes out, so that they can be compared in
pairs. What a protocol changes is in the plan; here it is only carried out.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import rlap
from rlap.algorithm import Stopwatch
from rlap.attribution import NEEDS_LABELS, Scan, scan
from rlap.corruption.corrupted import Corrupted, corrupt
from rlap.data import Dataset, Split
from rlap.data.base import stratified_indices
from rlap.experiments.arms import count_resumed, fit
from rlap.experiments.bad_data.parameters import HUMAN
from rlap.experiments.parameters import StudyParameters
from rlap.experiments.plan import Plan, plan
from rlap.experiments.released import component_one
from rlap.partition import Partition, partition, sample_scores, share_at_bounds
from rlap.training.loop import History
from rlap.training.recipe import Recipe

LAYER = "fc"
# test images that watch every epoch, by tier; all of them judge at the end. Of the
# paper's network, 2,000 would take a fifth of an epoch of 3,125.
WATCHED = {"smoke": 2000, "small": 2000, "paper": 500}


@dataclass(frozen=True)
class Ground:
    """What the arms of one run share.

    Attributes:
        run: resolved parameters; ``plan``: what they mean under the protocol.
        device: where networks are trained.
        data, noise: the data set, and what went wrong with its training part.
        watched: the test samples that watch every epoch of an arm.
        initial, history: the network that everything starts from, and its training.
        seen, scores: of one pass over the training set by ``initial``.
        activations: (N, d) of the pass that the regression sees.
        parts: the partition.
        seconds: of each stage.
        notes: warnings, for whoever reads the record.
    """

    run: StudyParameters
    plan: Plan
    device: torch.device | str
    data: Dataset
    noise: Corrupted
    watched: Split
    initial: nn.Module
    history: History
    seen: Scan
    scores: dict[str, Tensor]
    activations: Tensor
    parts: Partition
    seconds: dict[str, float]
    notes: tuple[str, ...]

    @property
    def train(self) -> Split:
        """The corrupted training set, as every arm may see it."""
        return self.noise.split

    @property
    def truth(self) -> Tensor:
        """(N,) bool: which training samples are corrupted."""
        return self.noise.is_corrupted

    @property
    def kept(self) -> Split:
        """The high-quality part of the training set."""
        return self.train.subset(self.parts.high_quality)


def prepare(run: StudyParameters, device: torch.device | str = "cpu") -> Ground:
    """Data, noise, initial network and partition of ``run`` (resolved)."""
    settings, watch = plan(run), Stopwatch()
    sizes = {"train_size": run.train_size, "test_size": run.test_size}
    wrong = {"kind": run.kind, "rate": run.rate, "level": run.level}
    with watch("data"):
        data = rlap.load(run.data_set, **sizes, seed=run.seed, **settings.load)
        if run.kind in HUMAN:
            noise = labelled_by_people(run, data)
        else:
            noise = corrupt(data.train, **wrong, seed=run.seed, redraw=settings.redraw)
    few = watched(data.test, run.tier)
    with watch("initial"):
        net, history = fit_initial(run, settings, noise.split, data.test, device)
    count_resumed(watch, "initial", history)
    first = noise.split.to_tensors(seed=run.seed)
    with watch("attribution"):
        labels = first.labels if settings.attribution in NEEDS_LABELS else None
        method = settings.attribution
        seen = scan(net, first.inputs, layer=LAYER, method=method, labels=labels)
    scores = sample_scores(seen.logits, first.labels)
    scores["bounds"] = share_at_bounds(first.inputs)
    with watch("partition"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parts = divide(settings, seen.attribution, scores["confidence"], run.seed)
        parts = named(settings, parts, noise.is_corrupted)
    activations = seen.activations
    if settings.redraw:  # as released, the regression sees other noise
        with watch("activations"):  # once for all criteria, and any one needs it
            again = noise.split.to_tensors(seed=run.seed + 1).inputs
            activations = rlap.activations(net, again, layer=LAYER)
    return Ground(
        run, settings, device, data, noise, few, net, history, seen, scores,
        activations, parts, dict(watch), tuple(str(w.message) for w in caught),
    )  # fmt: skip


def labelled_by_people(run: StudyParameters, data: Dataset) -> Corrupted:
    """The labels of CIFAR-10N, and where they are not those of CIFAR-10."""
    clean = rlap.load(run.dataset, train_size=run.train_size, seed=run.seed).train
    wrong = data.train.labels != clean.labels
    rate = wrong.double().mean().item()
    return Corrupted(data.train, wrong, rate, run.kind, run.rate, None, run.seed)


def watched(test: Split, tier: str = "small") -> Split:
    """The test samples that watch every epoch, the same in all runs of a tier."""
    few = min(WATCHED[tier], len(test))
    return test.subset(stratified_indices(test.labels, few, seed=0))


def fit_initial(
    run: StudyParameters,
    settings: Plan,
    split: Split,
    test: Split,
    device: torch.device | str,
) -> tuple[nn.Module, History]:
    """The network that everything starts from."""
    recipe = settings.recipes["initial"]
    part, monitor = monitored(run, settings, split, recipe, test)
    shown = {"test": watching_initial(run, test), "monitor": monitor}
    return fit(run, part, recipe, device, **shown)


def watching_initial(run: StudyParameters, test: Split) -> Split:
    """What is tested after each epoch of the initial training: the whole test set, for
    the paper's seconds an epoch include that; in the paper tier fewer images."""
    return watched(test, run.tier) if run.tier == "paper" else test


def monitored(
    run: StudyParameters, settings: Plan, part: Split, recipe: Recipe, test: Split
) -> tuple[Split, Split | None]:
    """What to train on, and what a plateau schedule follows (else None): a tenth of
    ``part`` that is held out, or, as released, the test set (difference 38)."""
    if recipe.schedule != "plateau":
        return part, None
    if settings.monitor == "test":
        return part, test
    count = max(part.labels.unique().numel(), len(part) // 10)
    held = torch.zeros(len(part), dtype=torch.bool)
    held[stratified_indices(part.labels, count, run.seed)] = True
    return part.subset(~held), part.subset(held).to_tensors(run.seed)


def divide(
    settings: Plan,
    attribution: Tensor,
    confidence: Tensor,
    seed: int,
    start: str | None = None,
) -> Partition:
    """The mixture's split, its fit begun at ``start`` (by default as planned)."""
    return partition(
        attribution,
        quality=confidence,
        seed=seed,
        covariance_type=settings.covariance,
        max_iter=settings.max_iter,
        start=start or settings.start,
    )


def named(settings: Plan, parts: Partition, truth: Tensor) -> Partition:
    """``parts`` with the high-quality side that the protocol takes."""
    if settings.cluster == "one":
        return component_one(parts, truth)
    if settings.cluster == "truth" and not cleaner(parts, truth):
        return parts.swapped("truth")
    return parts


def cleaner(parts: Partition, truth: Tensor) -> bool:
    """Whether the part that is called high quality is at least as clean as the other,
    by the ``truth`` (N,) of what is corrupted."""
    clean = (~truth).double()
    high, low = (
        clean[part.to(clean.device)].mean()
        for part in (parts.high_quality, parts.low_quality)
    )
    return bool(high >= low)
