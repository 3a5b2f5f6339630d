"""How fast does a class come back when the network is trained on a few samples?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlap.checks import check_count, check_gradients, check_positive, check_rate
from rlap.data.base import Split
from rlap.network.copying import copy_of
from rlap.network.layers import evaluating, model_device, placing
from rlap.network.modes import check_own_weights, trained_parameters
from rlap.training.inference import accuracy, predict
from rlap.unlearning.common.begin import MASKED, last_layer, last_linear
from rlap.unlearning.common.splits import ForgettingData, some
from rlap.unlearning.examiner.probes import balanced


@dataclass(frozen=True)
class Relearning:
    """How a class comes back.

    ``steps``: at which it was looked at, 0 first; ``forget``, ``retain``: accuracy on
    the class's and the others' test samples then; ``target``, ``keep``: what counts as
    back; ``diverged``: the first of the steps at which answers were not finite (such
    answers are wrong ones), None if they all were.
    """

    target: float
    keep: float
    steps: tuple[int, ...]
    forget: tuple[float, ...]
    retain: tuple[float, ...]
    diverged: int | None = None

    @property
    def back(self) -> float:
        """Mean over the steps of min(accuracy on the class / target, 1), in [0, 1]:
        1 was never gone, 0 never came back."""
        return share_reached(self.forget, self.target)

    def numbers(self, name: str) -> dict[str, float | None]:
        """``back`` and ``kept`` for a row; None where it diverged: then they say how
        soon, and not how far the class comes back."""
        found = {name: self.back, f"{name}_others": self.kept}
        return found if self.diverged is None else dict.fromkeys(found)

    @property
    def kept(self) -> float:
        """The same of the others and ``keep``: a class that comes back because it is
        the answer to everything shows here."""
        return share_reached(self.retain, self.keep)

    def curve(self) -> dict[str, list[float] | int]:
        """Steps and accuracies, and where it diverged, if it did, for a record."""
        found = asdict(self)
        curve = {name: list(found[name]) for name in ("steps", "forget", "retain")}
        return curve if self.diverged is None else {**curve, "diverged": self.diverged}


def share_reached(found: tuple[float, ...], target: float) -> float:
    """Mean of min(value / target, 1); 1 where nothing is to be reached."""
    return fmean(min(value / target, 1.0) if target else 1.0 for value in found)


def relearn(
    model: nn.Module,
    data: ForgettingData,
    *,
    target: float,
    keep: float,
    per_class: int = 50,
    batch_size: int = 32,
    lr: float = 0.02,
    max_steps: int = 60,
    every: int = 5,
    test_samples: int = 200,
    fresh_head: bool = False,
    seed: int = 0,
) -> Relearning:
    """Train a copy on a few samples of every class and watch the forgotten one.

    Plain SGD in eval mode (BatchNorm statistics stay) on batches with as many samples
    of each class: else the class comes and goes with its share of the last batch. A
    mask is lifted first: no number of steps would undo a bias of -1e9, and whoever
    wants the class back sees it at once. Its bias becomes 0; its weights stay zero.

    Args:
        model: left as it was.
        target: accuracy on ``data.forget_test`` that counts as back, usually half of
            the original model's; ``keep`` the same of ``data.retain_test``.
        lr: at 0.01 hardly anything came back in 60 steps on held-out images, and from
            0.03 on a network that had forgotten nothing lost some of it.
        max_steps, every: steps, and after how many of them it is looked at (and after
            the last).
        test_samples: at most, of either, on which that is measured.
        batch_size: rounded down to a multiple of the classes.
        fresh_head: set the last layer to zero first: then only the features help.
            (Drawn at random, the same features scored between 0.2 and 0.7 by the draw.)

    Raises ``ValueError`` for settings out of range and where all parameters are frozen,
    ``TypeError`` for a fresh head where the logits are not the output of an nn.Linear
    with parameters of its own.
    """
    check_rate(target, "target")
    check_rate(keep, "keep")
    check_count(max_steps, "max_steps")
    check_count(every, "every")
    check_count(batch_size, "batch_size")
    check_positive(lr, "lr")
    check_gradients()
    new = copy_of(model).eval()
    lift_mask(new, data.forget.inputs[:1])
    if fresh_head:
        name = last_linear(new, data.forget.inputs[:1])
        head = new.get_submodule(name)
        check_own_weights(head, name)
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.zero_()
    few = balanced(data, per_class, seed).to(model_device(new))
    batches = balanced_batches(few.labels.cpu(), batch_size, seed)
    parameters = list(trained_parameters(new).values())
    place = placing(new, few.inputs, training=True)
    watched = [
        some(s, test_samples, seed) for s in (data.forget_test, data.retain_test)
    ]
    looks, diverged = [(0, *(accuracy(new, split) for split in watched))], None
    for step in range(1, max_steps + 1):
        index = next(batches).to(few.inputs.device)
        descend(new, parameters, place(few.inputs[index]), few.labels[index], lr)
        if step % every == 0 or step == max_steps:
            found = [finite_accuracy(new, split) for split in watched]
            looks.append((step, *(right for right, _ in found)))
            if diverged is None and not all(finite for _, finite in found):
                diverged = step
    return Relearning(target, keep, *zip(*looks, strict=True), diverged)


def finite_accuracy(model: nn.Module, split: Split) -> tuple[float, bool]:
    """``accuracy`` where answers that are not finite are wrong, and whether all were
    finite."""
    logits = predict(model, split.inputs)
    finite = logits.isfinite().all(1)
    hits = (logits.argmax(1) == split.labels.to(logits.device)) & finite
    return hits.cpu().double().mean().item(), bool(finite.all())


def balanced_batches(labels: Tensor, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Without end: indices of ``batch_size // C`` samples of each of the C classes of
    ``labels`` (N,), at least one."""
    generator = torch.Generator().manual_seed(seed)
    classes = [(labels == c).nonzero()[:, 0] for c in labels.unique()]
    each = max(1, batch_size // len(classes))
    while True:
        orders = [
            torch.randperm(len(own), generator=generator, device="cpu")
            for own in classes
        ]
        yield torch.cat(
            [own[order[:each]] for own, order in zip(classes, orders, strict=True)]
        )


@torch.no_grad()
def lift_mask(model: nn.Module, example: Tensor) -> None:
    """Set biases of the last nn.Linear that forbid an answer to 0, in place."""
    name = last_layer(model, example)[1]
    bias = None if name is None else model.get_submodule(name).bias
    if bias is not None:
        bias[bias <= MASKED / 2] = 0


def descend(
    model: nn.Module, parameters: list, inputs: Tensor, labels: Tensor, lr: float
) -> None:
    """One step of plain gradient descent on a batch (B, ...), (B,), in place."""
    with torch.enable_grad(), evaluating(model):
        loss = F.cross_entropy(model(inputs), labels)
        # the forward pass may not use a parameter
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter.sub_(gradient, alpha=lr)
