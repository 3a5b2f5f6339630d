"""The repairs that are tried: each a name, and what makes the network."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from rlap.algorithm import robustify
from rlap.data.base import Split
from rlap.network.copying import copy_of
from rlap.network.layers import SUPPORTED, reading
from rlap.network.watching import watching
from rlap.repair.account import Diagnosis
from rlap.repair.diagnosis import Findings, by_heart
from rlap.repair.labels.posterior import bayes, posterior
from rlap.repair.projection import Directions, input_moments, kept
from rlap.repair.retraining import augmented, fresh
from rlap.repair.samples import Logits, Samples
from rlap.repair.scores import look
from rlap.training.inference import accuracy, predict
from rlap.training.loop import History, TrainingDiverged, train
from rlap.training.recipe import Recipe

AS_IT_CAME = "as it came"
ON = "trained on with everything"
POSTERIOR = "trained on, towards the posterior of the true class"
KEPT = "trained on without labels that are probably wrong"
DROPPED = "trained on without bad inputs"
RETRAINED = "retrained without bad inputs"
FRESH = "retrained shortly from new weights"
AGAIN = "retrained towards the posterior of the true class"
KEPT_AGAIN = "retrained without labels that are probably wrong"
FRESH_POSTERIOR = "retrained, then on towards the posterior of the true class"
ON_POSTERIOR = "trained on with everything, then towards the posterior"
PROJECTED = "projected onto what samples of small loss use (SAP)"
PRUNED = "pruned and its head fine-tuned (RLAP)"
TOWARDS_TRUE = (POSTERIOR, KEPT, AGAIN, KEPT_AGAIN, FRESH_POSTERIOR, ON_POSTERIOR)
PLAIN = (AS_IT_CAME, ON, FRESH)  # without targets
TRUSTED = 1000  # samples of small loss, SAP's
ALPHAS = (1e4, 3e4, 1e5, 3e5, 1e6)  # the range of SAP's authors
WIDEST = 2048  # inputs of a layer, beyond which its directions take minutes

Made = tuple[Logits, History | None]


class Unsuited(Exception):
    """The network does not allow this repair."""


class Candidate(NamedTuple):
    """A repair worth a try; ``make()`` is None where its training diverged, and raises
    ``Unsuited``. ``trains``: whether it takes a whole training."""

    name: str
    make: Callable[[], Made | None]
    trains: bool = True


class Workshop:
    """Where repairs are made, all with one recipe and seed.

    ``held`` is the slice by half of which SAP's strength is chosen, which stays as it
    was chosen first.
    """

    def __init__(self, recipe: Recipe, seed: int) -> None:
        self.recipe, self.seed = recipe, seed
        self.held: Split | None = None
        self.strength: float | None = None

    def candidates(
        self, found: Findings, network: Logits, given: Split
    ) -> Iterator[Candidate]:
        """Repairs of ``network`` for data ``given``, the likeliest first."""
        about = found.diagnosis
        plain = replace(given, num_classes=about.targets.shape[1])
        if about.labels_wrong:
            soft = softened(given, about)
        else:
            soft = plain.subset((about.bad_input < 0.5).to(given.inputs.device))

        def training(name: str, start: Callable[[], Logits], on: Split) -> Candidate:
            return Candidate(name, lambda: self.train(start(), on, found.mirrored))

        def going_on() -> Logits:
            return copy_of(network)

        def anew() -> Logits:
            try:
                return fresh(network, self.seed)
            except TypeError as error:
                raise Unsuited(str(error)) from error

        few = probably_right(given, about) if about.labels_wrong else None
        if found.scorer is None:
            # what memorises all learns the wrong part of a posterior, too
            if few is not None:
                yield training(KEPT_AGAIN, anew, few)
            yield training(AGAIN, anew, soft)
        elif about.memorised and not self.forgets(given, found.mirrored):
            yield training(FRESH_POSTERIOR, lambda: copy_of(found.scorer), soft)
        elif about.labels_wrong:
            yield training(POSTERIOR, going_on, soft)
        elif about.inputs_bad:
            yield training(DROPPED, going_on, soft)
        yield training(ON, going_on, plain)  # what the others have to beat
        if found.scorer is network and few is not None:
            yield training(KEPT, going_on, few)
        if about.inputs_bad:
            yield training(RETRAINED, anew, soft)
        if found.scorer is network and (about.labels_wrong or about.inputs_bad):
            yield Candidate(PROJECTED, lambda: self.project(network, given), False)
            rule = "loss" if about.labels_wrong else "gmm"
            yield Candidate(PRUNED, lambda: self.prune(network, given, rule), False)

    def forgets(self, given: Split, mirrored: bool) -> bool:
        """Whether continued training makes a network forget labels it memorised:
        images that are cropped and flipped do, and its features are then a better start
        than new weights."""
        return augmented(self.recipe, given.inputs, mirrored).augment != "none"

    def once_more(
        self,
        chosen: str,
        network: Logits,
        about: Diagnosis,
        given: Split,
        mirrored: bool,
    ) -> Candidate:
        """Continued training from where a repair ended: with everything, if that was
        it, else towards the posterior that the better networks see, the targets of
        ``about``, see ``Panel``."""
        plain = replace(given, num_classes=about.targets.shape[1])
        split = plain if chosen == ON else softened(given, about)
        return Candidate(chosen, lambda: self.train(copy_of(network), split, mirrored))

    def train(self, start: Logits, split: Split, mirrored: bool) -> Made | None:
        """``start``, trained on ``split``; None where it diverged."""
        recipe = augmented(self.recipe, split.inputs, mirrored)
        try:
            return start, train(start, split, recipe, seed=self.seed)
        except TrainingDiverged:
            return None

    def project(self, network: Logits, given: Split) -> Made:
        """SAP: every layer's weights see what the samples of smallest loss use."""
        labels = given.labels.to("cpu")
        loss = F.cross_entropy(
            predict(network, given.inputs).cpu(), labels, reduction="none"
        )
        try:
            check_widths(network)
            found = trusted_directions(network, given, loss)
        except (TypeError, ValueError) as error:
            raise Unsuited(str(error)) from error
        if self.strength is None:
            half = self.held.subset(range(0, len(self.held), 2))
            self.strength = max(
                ALPHAS, key=lambda a: accuracy(kept(network, found, alpha=a), half)
            )
        return kept(network, found, alpha=self.strength), None

    def prune(self, network: Logits, given: Split, rule: str) -> Made:
        """The paper's method at the layer before the last."""
        layer = before_last(network, given.inputs[:1])
        if layer is None:
            raise Unsuited("there is no layer before the last to prune")
        # the network itself, where it returns logits: its head can be trained alone
        bare = network.output is None and returns_tensor(network, given.inputs[:1])
        told = {"rule": rule, "scope": "head", "seed": self.seed}
        told["layer"] = layer.removeprefix("network.") if bare else layer
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # whatever the groups are, it is tried
                found = robustify(network.network if bare else network, given, **told)
        except (KeyError, TypeError, ValueError, TrainingDiverged) as error:
            raise Unsuited(str(error)) from error
        new = Logits(found.model) if bare else found.model
        return new, found.histories["finetune"]


class Panel:
    """What several networks say of labels that are wrong, in the mean: together they
    err less than each of them.

    How labels were drawn and which inputs are bad stays as it was found, in ``about``:
    who was trained towards the true classes has nothing of its own to say of that.
    ``given`` are the samples; ``mirrored`` as for ``look``.

    >>> Panel(rlap.diagnose(model, data), data, mirrored=False).diagnosis is None
    True
    """

    def __init__(self, about: Diagnosis, given: Split, mirrored: bool) -> None:
        self.about, self.given, self.mirrored = about, given, mirrored
        self.total: Tensor | None = None
        self.size = 0

    def hear(
        self, network: Logits, towards_true: bool, held: Tensor | None = None
    ) -> None:
        """Add what a network sees if labels are wrong; it predicts the true class where
        it was trained ``towards_true`` ones, and else the given label. Whoever has
        memorised these has nothing to say; ``held`` (M,) is whether it predicts those
        of a held-out slice."""
        if not self.about.labels_wrong:
            return
        seen = look(network, Samples(self.given), self.mirrored)
        if held is not None and by_heart(seen.accuracy, held.mean().item(), len(held)):
            return
        p = seen.probabilities
        by = bayes if towards_true else posterior
        told = by(p, self.about.transition, self.about.labels)
        self.total = told if self.total is None else self.total + told
        self.size += 1

    @property
    def diagnosis(self) -> Diagnosis | None:
        """By the mean of what was heard; None where nobody was."""
        if self.total is None:
            return None
        return self.about.with_targets(self.total / self.size)


def softened(given: Split, about: Diagnosis) -> Split:
    """The samples with good inputs, and the posterior of the true class as targets."""
    good = about.bad_input < 0.5
    targets = about.targets.to(given.inputs.device)
    new = replace(given, num_classes=targets.shape[1], targets=targets)
    return new.subset(good.to(given.inputs.device))


def probably_right(given: Split, about: Diagnosis) -> Split | None:
    """The samples that are probably right, inputs and labels; None where a class would
    be lost."""
    good = (about.bad_input < 0.5) & (about.wrong_label < 0.5)
    labels = about.labels
    if not good.any() or len(labels[good].unique()) < len(labels.unique()):
        return None
    new = replace(given, num_classes=about.targets.shape[1])
    return new.subset(good.to(given.inputs.device))


def trusted_directions(
    network: nn.Module, given: Split, loss: Tensor
) -> dict[str, Directions]:
    """Layer -> the directions of its inputs that the samples of smallest loss use, by
    ``loss`` (N,): SAP's first step."""
    trusted = loss.argsort()[: min(TRUSTED, len(loss) // 2)]
    few = given.subset(trusted.to(given.inputs.device))
    moments = input_moments(network, few)
    return {name: Directions.of(moment) for name, moment in moments.items()}


def check_widths(network: nn.Module) -> None:
    """Raise ``ValueError`` for a layer whose directions would take minutes."""
    for name, module in network.named_modules():
        if isinstance(module, SUPPORTED) and module.weight[0].numel() > WIDEST:
            own = name.removeprefix("network.")
            raise ValueError(f"layer {own!r} has more than {WIDEST:,} inputs")


@torch.no_grad()
def returns_tensor(network: Logits, example: torch.Tensor) -> bool:
    """Whether the caller's own network returns a tensor."""
    with reading(network, example) as batches:
        return isinstance(network.network(next(batches)), torch.Tensor)


@torch.no_grad()
def before_last(network: nn.Module, example: torch.Tensor) -> str | None:
    """Name of the Linear layer or convolution that runs last but one; None where there
    are not two."""
    layers = (nn.Linear, _ConvNd)
    names = [n for n, m in network.named_modules() if isinstance(m, layers)]
    ran: list[str] = []
    with (
        reading(network, example) as batches,
        watching(network, names, lambda call: ran.append(call.name)),
    ):
        network(next(batches))
    return ran[-2] if len(ran) > 1 else None
