"""One loop that trains every arm.

Data stay as tensors, batches are drawn and augmented on the device, and every random
choice comes from the seed: two runs on one machine give identical weights, and a run
resumed from its checkpoint equals the uninterrupted one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from rlap.checks import check_gradients, check_model, check_seed
from rlap.data.base import Split, check_split
from rlap.network.layers import (
    check_logits,
    model_device,
    placing,
    preserved_random_state,
)
from rlap.network.modes import (
    alone,
    batches_of_one_explained,
    check_trainable,
    only_these,
    trainable,
)
from rlap.network.precision import autocast, own_precision
from rlap.network.strips import strips_for
from rlap.training.checkpoint import Checkpoint, fingerprint
from rlap.training.inference import accuracy
from rlap.training.losses import cross_entropy, generalized_cross_entropy
from rlap.training.perceptron import Perceptron
from rlap.training.recipe import (
    Recipe,
    augment,
    check_recipe,
    learning_rate,
    make_optimizer,
    make_plateau,
    resolve_precision,
)
from rlap.wording import in_brief

if TYPE_CHECKING:
    from rlap.pruning import Mask


GATHERED = 2**19  # values that are gathered at once from a split that does not change


class TrainingDiverged(RuntimeError):
    """The loss became NaN or infinite.

    >>> try:
    ...     rlap.train(model, data, rlap.Recipe(lr=1e30, epochs=3))
    ... except rlap.TrainingDiverged as error:
    ...     print(str(error).split(";")[1])
     lower the learning rate (now 1e+30) or check the inputs
    """


@dataclass
class History:
    """What happened in each epoch; lists have one entry an epoch.

    ``loss`` and ``accuracy`` are running means over the (augmented) training batches,
    ``test_accuracy`` is filled when a test split was given, ``monitor_accuracy`` when
    one was monitored; ``seconds`` counts the training alone and ``test_seconds`` the
    evaluations of both. ``resumed`` epochs came from a checkpoint, with the seconds
    that they took when they were run.

    >>> history = rlap.train(model, data, rlap.Recipe(epochs=2), test=data)
    >>> len(history.loss), len(history.test_accuracy), history.samples
    (2, 2, 120)
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    monitor_accuracy: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    test_seconds: list[float] = field(default_factory=list)
    setup_seconds: float = 0.0
    samples: int = 0
    precision: str = "fp32"
    resumed: int = field(default=0, compare=False)

    __repr__ = in_brief

    @property
    def total_seconds(self) -> float:
        """Seconds of set-up and training, evaluations left out."""
        return self.setup_seconds + sum(self.seconds)


@own_precision()
def train(
    model: nn.Module,
    split: Split,
    recipe: Recipe | None = None,
    *,
    device: torch.device | str | None = None,
    seed: int = 0,
    test: Split | None = None,
    monitor: Split | None = None,
    mask: Mask | None = None,
    penalty: Callable[[nn.Module], Tensor] | None = None,
    modules: Sequence[str] | None = None,
    batchnorm: str = "train",
    on_epoch: Callable[[nn.Module, int], None] | None = None,
    checkpoint: str | Path | None = None,
    progress: bool | str = False,
) -> History:
    """Train ``model`` in place on ``split``; it stays on ``device``, in eval mode.

    Args:
        model: any classifier, (B, ...) -> logits (B, C).
        split: inputs (N, ...), labels (N,); its targets, where it has them, take the
            place of the labels in the loss, and its weights weight the loss.
        recipe: see ``Recipe``; None takes its defaults.
        device: None keeps the model where it is.
        seed: of the order, the augmentation, redrawn noise and dropout.
        test: evaluated after each epoch when given; decides nothing.
        monitor: the split by whose accuracy the schedule "plateau" goes, and that
            schedule's alone: a validation part.
        mask: pruned units, held at zero exactly after every step.
        penalty: what it returns for the model, a scalar, is added to every step's loss
            (and to ``History.loss``); its repr tells it from others in a checkpoint.
        modules: dotted names; only their parameters are trained and the rest is
            frozen in eval mode. None trains every parameter that requires a gradient.
        batchnorm: "train", or "eval" to freeze the statistics of every BatchNorm.
        on_epoch: called with the model and the epoch (from 0) when the modules have
            their modes and before the first batch: what it sets holds for that epoch.
            Its name tells it from others in a checkpoint.
        checkpoint: a file written after every epoch and resumed from when it exists,
            whatever weights ``model`` has by then (a name belongs to one run); of a
            folder, the file that belongs to this very run (start, data, recipe, seed,
            test), so that many runs can share what they have in common.
        progress: a progress bar, with this title when it is a string.

    Raises ``ValueError`` for unusable data or settings, ``TrainingDiverged`` when the
    loss is no longer finite.

    >>> history = rlap.train(model, data, rlap.Recipe(epochs=3, lr=0.02), seed=1)
    >>> history.loss[-1] < history.loss[0]
    True
    """
    check_model(model)
    check_arguments(split, recipe, batchnorm, mask, seed, test=test, monitor=monitor)
    recipe, seed = recipe or Recipe(), check_seed(seed)
    check_monitor(recipe, monitor)
    device = torch.device(device) if device is not None else model_device(model)
    model.to(device)
    set_mode, parameters = trainable(model, modules, batchnorm)
    optimizer = make_optimizer(recipe, parameters)
    precision = resolve_precision(recipe.precision, model, device)
    history = History(samples=len(split), precision=precision)
    given = (split.to(device), recipe, optimizer, history, set_mode, device)
    run = TrainingRun(model, *given, penalty, on_epoch)
    run.generator.manual_seed(seed)
    watched = monitor and fingerprint(monitor)
    told = (asdict(recipe), seed, modules, batchnorm, watched)
    told += (mask and mask.describe(), penalty and repr(penalty))
    told += (on_epoch and name_of(on_epoch),)
    with (
        torch.enable_grad(),
        alone(model),
        batches_of_one_explained(),
        preserved_random_state(device, seed),
        only_these(model, parameters),
    ):
        saved = Checkpoint(checkpoint, run, told, test)
        start = saved.restore()
        if mask is not None:
            run.hold = mask.holder(model)
        run.hold()
        try:
            for epoch in _bar(range(start, recipe.epochs), progress, history):
                run.epoch(epoch)
                run.evaluate(test, monitor)
                saved.write()
        finally:  # however it ends
            model.eval()
    return history


@dataclass
class TrainingRun:
    """The state of one training run."""

    model: nn.Module
    split: Split
    recipe: Recipe
    optimizer: torch.optim.Optimizer
    history: History
    set_mode: Callable[[], None]
    device: torch.device
    penalty: Callable[[nn.Module], Tensor] | None = None
    on_epoch: Callable[[nn.Module, int], None] | None = None
    generator: torch.Generator = field(default_factory=torch.Generator)
    top_label: int = 0
    plateau: ReduceLROnPlateau | None = None
    hold: Callable[[], None] = lambda: None  # pruned units at zero
    perceptron: Perceptron | None = None
    place: Callable[[Tensor], Tensor] = field(init=False)
    strips: AbstractContextManager = field(init=False)

    def __post_init__(self) -> None:
        self.strips = strips_for(self.model, self.history.precision)
        self.place = placing(self.model, self.split.inputs, training=True)
        self.top_label = int(self.split.labels.max())
        self.plateau = make_plateau(self.recipe, self.optimizer)

    def epoch(self, epoch: int) -> None:
        """One pass over the data."""
        began = time.perf_counter()
        order = self.order()
        steps = -(-len(order) // self.recipe.batch_size)
        self.set_mode()
        if self.on_epoch is not None:
            self.on_epoch(self.model, epoch)
        self.perceptron = self.by_hand()
        self.optimizer.zero_grad(set_to_none=True)  # by hand, once is enough
        loss_sum, hits = (torch.zeros((), device=self.device) for _ in range(2))
        for i, (inputs, labels, soft) in enumerate(self.batches(order)):
            lr = self.set_rate(epoch * steps + i, steps)
            loss, logits = self.step(inputs, labels, **soft)
            loss_sum += loss * len(labels)
            hits += (logits.argmax(1) == labels).sum()
        mean_loss = loss_sum.item() / len(order)  # waits for the device: real time
        if not math.isfinite(mean_loss):
            raise TrainingDiverged(
                f"the loss is {mean_loss} in epoch {epoch}; lower the learning rate "
                f"(now {self.recipe.lr}) or check the inputs"
            )
        self.history.loss.append(mean_loss)
        self.history.accuracy.append(hits.item() / len(order))
        self.history.lr.append(lr)
        self.history.seconds.append(time.perf_counter() - began)

    def by_hand(self) -> Perceptron | None:
        """The model as a perceptron, where its gradients can be written out."""
        plain = self.penalty is None and self.recipe.loss == "cross_entropy"
        if not plain or self.split.inputs.dim() != 2 or self.soft:
            return None
        found = Perceptron.of(self.model, self.history.precision)
        enough = found is not None and found.layers[-1].out_features > self.top_label
        return found if enough else None  # what is wrong, ``backward`` tells

    def order(self) -> Tensor:
        """The samples of an epoch, one batch after the other."""
        n, size = len(self.split), self.recipe.batch_size
        order = torch.arange(n, device="cpu")
        if self.recipe.shuffle:
            order = torch.randperm(n, generator=self.generator, device="cpu")
        # BatchNorm has no variance over one sample
        return order[:-1] if n > size > 1 and n % size == 1 else order

    @property
    def soft(self) -> dict[str, Tensor]:
        """Targets (N, C) and weights (N,), as far as the data have them."""
        found = {"targets": self.split.targets, "weights": self.split.weights}
        return {name: rows for name, rows in found.items() if rows is not None}

    def batches(
        self, order: Tensor
    ) -> Iterator[tuple[Tensor, Tensor, dict[str, Tensor]]]:
        """Inputs (B, ...), labels (B,), and ``soft``'s rows of each step. Small samples
        are gathered for many steps at once, where nothing is drawn at each access."""
        split, size = self.split, self.recipe.batch_size
        at_once = size
        if type(split) is Split:
            values = size * split.inputs[0].numel()
            at_once *= max(1, GATHERED // max(1, values))
        for index in order.split(at_once):
            index = index.to(self.device)
            inputs = split.at(index, self.generator).split(size)
            soft = {name: rows[index].split(size) for name, rows in self.soft.items()}
            for i, labels in enumerate(split.labels[index].split(size)):
                yield inputs[i], labels, {name: soft[name][i] for name in soft}

    def set_rate(self, step: int, steps_per_epoch: int) -> float:
        """Set the learning rate of ``step`` and return it."""
        if self.plateau is not None:
            return self.plateau.get_last_lr()[0]  # set at the end of the last epoch
        lr = learning_rate(self.recipe, step, steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def step(
        self, inputs: Tensor, labels: Tensor, **soft: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One update on a batch: the loss, and logits (B, C)."""
        inputs = augment(inputs, self.recipe, self.generator)
        backward = self.backward
        if self.perceptron is not None:
            backward = self.perceptron.backward
        logits, loss = backward(inputs, labels, self.recipe.label_smoothing, **soft)
        self.optimizer.step()
        self.hold()
        return loss, logits

    def backward(
        self, inputs: Tensor, labels: Tensor, smoothing: float, **soft: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, C) and loss of a batch; the gradients are left for a step."""
        with autocast(self.history.precision, self.device), self.strips:
            output = self.model(self.place(inputs))
            logits = check_logits(output, len(labels)).float()
        if logits.shape[1] <= self.top_label:
            raise ValueError(
                f"the model returns logits {tuple(logits.shape)}; labels up to "
                f"{self.top_label} need (B, C) with C > {self.top_label}"
            )
        if self.recipe.loss == "generalized":
            loss = generalized_cross_entropy(logits, labels, **soft)
        else:
            loss = cross_entropy(logits, labels, smoothing, **soft)
        if self.penalty is not None:
            loss = loss + self.penalty(self.model)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        return logits.detach(), loss.detach()

    def evaluate(self, test: Split | None, monitor: Split | None) -> None:
        """Accuracy on both after an epoch; the schedule hears of the second."""
        if test is None and monitor is None:
            return
        began, history = time.perf_counter(), self.history
        found: dict[int, float] = {}
        for split in (test, monitor):
            if split is not None and id(split) not in found:
                found[id(split)] = accuracy(
                    self.model, split, precision=history.precision
                )
        if test is not None:
            history.test_accuracy.append(found[id(test)])
        if monitor is not None:
            history.monitor_accuracy.append(found[id(monitor)])
            self.plateau.step(found[id(monitor)])
        history.test_seconds.append(time.perf_counter() - began)


def check_arguments(
    split: Split,
    recipe: Recipe | None,
    batchnorm: str,
    mask: Mask | None,
    seed: int,
    **others: Split | None,
) -> None:
    """Raise what is wrong with arguments of ``train`` before anything is changed."""
    check_gradients()
    check_trainable(split, batchnorm)
    check_recipe(recipe)
    if (
        recipe is not None
        and recipe.loss == "generalized"
        and split.targets is not None
    ):
        raise ValueError("the generalized loss is of labels: it takes no soft targets")
    check_seed(seed)
    for name, other in others.items():
        if other is not None:
            check_split(other, name).fixed_inputs()
    if mask is not None and not hasattr(mask, "describe"):
        raise TypeError(
            f"mask must be an rlap.Mask, as prune returns it, not {type(mask).__name__}"
        )


def name_of(hook: Callable) -> str:
    """What tells a hook from others, in any process: its name, of a partial function
    with its arguments, of an object that of its class."""
    if isinstance(hook, partial):
        return f"{name_of(hook.func)}{hook.args}{hook.keywords}"
    named = hook if hasattr(hook, "__qualname__") else type(hook)
    return f"{named.__module__}.{named.__qualname__}"


def check_monitor(recipe: Recipe, monitor: Split | None) -> None:
    """Raise ``ValueError`` where schedule and ``monitor`` do not belong together."""
    if recipe.schedule == "plateau" and monitor is None:
        raise ValueError(
            "the schedule 'plateau' needs monitor=..., a split to watch the accuracy of"
        )
    if recipe.schedule != "plateau" and monitor is not None:
        raise ValueError(
            f"monitor is for the schedule 'plateau'; {recipe.schedule!r} looks at none"
        )


def _bar(epochs: range, progress: bool | str, history: History):
    """``epochs`` with a tqdm bar when asked for."""
    if not progress:
        yield from epochs
        return
    from tqdm.auto import tqdm

    bar = tqdm(epochs, desc=progress if isinstance(progress, str) else "epochs")
    for epoch in bar:
        yield epoch
        shown = {
            "loss": f"{history.loss[-1]:.3f}",
            "acc": f"{history.accuracy[-1]:.3f}",
        }
        if history.test_accuracy:
            shown["test"] = f"{history.test_accuracy[-1]:.3f}"
        bar.set_postfix(shown)
