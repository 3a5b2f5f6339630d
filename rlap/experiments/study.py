"""One run of a protocol: data, noise, partition, pruning.

The stages come one after the other, as in the walkthrough. All arms of a run
(``rlap.experiments.contest``) share what is made here, so that they can be compared in
pairs. What a protocol changes is in the plan; here it is only carried out.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

import rlap
from rlap.algorithm import Stopwatch
from rlap.attribution import NEEDS_LABELS, Scan, scan
from rlap.corruption.corrupted import Corrupted, corrupt
from rlap.data import Dataset, Split
from rlap.data.base import stratified_indices
from rlap.experiments.plan import RIVALS, Plan, plan
from rlap.experiments.study_parameters import StudyParameters
from rlap.metrics import auroc, detection, told_by
from rlap.partition import (
    STARTS,
    Partition,
    partition,
    sample_scores,
    share_at_bounds,
)
from rlap.pruning import Mask, prune
from rlap.sensitivity import sensitivity, top_units

LAYER = "fc"
WATCHED = 2000  # test images that watch every epoch; all of them judge at the end


@dataclass
class Study:
    """The state of one run; the methods are its stages, in order.

    Attributes:
        run: resolved parameters.
        plan: what they mean under the protocol.
        data, noise, watched: the data set, the corrupted training part, and the test
            samples that watch every epoch.
        initial: the network that everything starts from.
        seen, scores: of one pass over the training set by ``initial``.
        activations: (N, d) of the pass that the regression sees.
        parts: the partition.
        starts: start of the mixture's fit -> what it finds.
        units: criterion -> units pruned.
        notes: warnings and what else a reader of the record must know.
    """

    run: StudyParameters
    device: torch.device | str = "cpu"
    plan: Plan = field(init=False)
    watch: Stopwatch = field(default_factory=Stopwatch)
    data: Dataset = field(init=False)
    noise: Corrupted = field(init=False)
    watched: Split = field(init=False)
    initial: nn.Module = field(init=False)
    seen: Scan = field(init=False)
    scores: dict[str, Tensor] = field(init=False)
    starts: dict[str, dict] = field(init=False)
    activations: Tensor = field(init=False)
    parts: Partition = field(init=False)
    units: dict[str, list[int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.plan = plan(self.run)

    def load(self) -> None:
        """The data, and what goes wrong with the training part."""
        run = self.run
        with self.watch("data"):
            self.data = rlap.load(
                run.dataset,
                train_size=run.train_size,
                test_size=run.test_size,
                seed=run.seed,
                **self.plan.load,
            )
            self.noise = corrupt(
                self.data.train,
                kind=run.kind,
                rate=run.rate,
                level=run.level,
                seed=run.seed,
                redraw=self.plan.redraw,
            )
        labels = self.data.test.labels
        some = stratified_indices(labels, min(WATCHED, len(labels)), seed=0)
        self.watched = self.data.test.subset(some)

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

    def inspect(self) -> None:
        """Attribution and partition of the training set by the initial network."""
        run, settings, net = self.run, self.plan, self.initial
        first = self.train.to_tensors(seed=run.seed)
        with self.watch("attribution"):
            given = first.labels if settings.attribution in NEEDS_LABELS else None
            self.seen = scan(
                net,
                first.inputs,
                layer=LAYER,
                method=settings.attribution,
                labels=given,
            )
        self.scores = {
            **sample_scores(self.seen.logits, first.labels),
            "bounds": share_at_bounds(first.inputs),
        }
        with self.watch("partition"), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            parts = self.split_from(settings.start)
            self.parts = self.named(parts)
        self.starts = {start: self.found_from(start) for start in STARTS}
        self.notes += [str(warning.message) for warning in caught]
        self.activations = self.seen.activations
        if settings.redraw:  # as released, the regression sees other noise
            with self.watch("sensitivity"):
                second = self.train.to_tensors(seed=run.seed + 1)
                self.activations = rlap.activations(net, second.inputs, layer=LAYER)

    def split_from(self, start: str) -> Partition:
        """The mixture's split of the training set, its fit begun at ``start``."""
        return partition(
            self.seen.attribution,
            quality=self.scores["confidence"],
            seed=self.run.seed,
            covariance_type=self.plan.covariance,
            max_iter=self.plan.max_iter,
            start=start,
        )

    def found_from(self, start: str) -> dict[str, object]:
        """What a fit from ``start`` finds: the noise or the classes, and how well it
        fits. No arm sees it but from the start that the protocol takes."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                own = start == self.plan.start  # which is fitted already
                parts = self.parts if own else self.split_from(start)
            except ValueError as error:  # everybody on one side
                return {"error": str(error)}
        known = {"noise": self.truth, "class": self.data.train.labels}
        area = auroc(1 - parts.posterior, self.truth).value
        return {
            "log_likelihood": parts.diagnostics["log_likelihood"],
            "auroc": max(area, 1 - area),
            "told_by": {k: told_by(v, parts.high_quality) for k, v in known.items()},
        }

    def named(self, parts: Partition) -> Partition:
        """``parts`` with the high-quality side that the protocol takes."""
        if self.plan.cluster == "one":
            one = parts.diagnostics["component"] == 1
            taken = parts if one else parts.swapped("component 1, whatever it is")
            # as released: 50 % was meant, but a percentage is compared with 0.5
            right = (taken.high_quality.to(self.truth.device) == ~self.truth).double()
            if right.mean() <= 0.005:
                return taken.swapped("component 0: 1 is wrong for 99.5 %")
            return taken
        worse = self.purity(parts.high_quality) < self.purity(parts.low_quality)
        if self.plan.cluster == "truth" and worse:
            return parts.swapped("truth")
        return parts

    def purity(self, part: Tensor) -> float:
        """Share of ``part`` (N,) bool that is clean."""
        clean = ~self.truth
        return clean[part.to(clean.device)].double().mean().item()

    def partition_quality(self) -> dict[str, object]:
        """What the partition found, and how well simpler scores find the noise."""
        parts, truth, scores = self.parts, self.truth, self.scores
        suspect = {
            "partition": 1 - parts.posterior,
            "loss": scores["loss"],
            "low margin": -scores["margin"],
            "low confidence": -scores["confidence"],
            "low total attribution": -self.seen.attribution.sum(1),
            "values at 0 or 1": scores["bounds"],
        }
        areas = {name: auroc(score, truth) for name, score in suspect.items()}
        better = self.purity(parts.high_quality) >= self.purity(parts.low_quality)
        return {
            "detection": detection(parts.posterior, parts.high_quality, truth),
            "diagnostics": parts.diagnostics,
            "auroc": {k: [v.value, v.low, v.high] for k, v in areas.items()},
            "oriented_right": better,
            "starts": self.starts,
        }

    def identity_difference(self, samples: int = 1000) -> float:
        """Largest difference between the paper's attribution and the bare activation,
        both standardised by unit: what the gradient adds to the partition."""
        inputs = self.train.to_tensors(seed=self.run.seed).inputs[:samples]
        features = [
            rlap.attribute(self.initial, inputs, layer=LAYER, method=method, fast=False)
            for method in ("gradient_x_activation", "activation")
        ]
        paper, plain = (
            (x - x.mean(0)) / x.std(0).clamp_min(1e-12)
            for x in map(Tensor.double, features)
        )
        return (paper - plain).abs().max().item()

    def sensitive_units(self, criterion: str) -> Tensor:
        """The units that ``criterion`` prunes, sorted."""
        settings, low = self.plan, self.parts.low_quality
        count, _ = settings.pruning[criterion]
        if criterion == "regression" and settings.target == "class":
            # as released: entry number <class> of the cluster labels, not the sample's
            low = low[self.train.labels.to(low.device)]
            if low.all() or not low.any():
                self.notes.append(
                    "the class-indexed target is constant, so that the regression's "
                    "slopes are rounding noise: the units were drawn at random"
                )
                criterion, low = "random", self.parts.low_quality
        if criterion in RIVALS and settings.roles == "swapped":
            low = ~low
        scores = sensitivity(
            self.activations,
            low,
            criterion=criterion,
            standardise=settings.standardise,
            weight=self.initial.get_submodule(LAYER).weight,
            seed=self.run.seed,
        )
        return top_units(scores, count)

    def prune(self, criterion: str) -> tuple[nn.Module, Mask]:
        """A pruned copy of the initial network, and the mask."""
        with self.watch("sensitivity"):
            units = self.sensitive_units(criterion)
        self.units[criterion] = units.tolist()
        net = copy.deepcopy(self.initial)
        with self.watch("pruning"):
            mask = prune(
                net,
                layer=LAYER,
                units=units,
                bias=self.plan.pruning[criterion][1],
                batchnorm=None,
            )
        return net, mask
