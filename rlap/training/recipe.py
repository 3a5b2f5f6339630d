"""What a training run is told: budget, optimiser, schedule, augmentation, precision."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from rlap.checks import check_count, check_number, check_one_of

OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("constant", "multistep", "cosine", "onecycle", "plateau")
AUGMENTATIONS = ("none", "flip", "crop+flip")
PRECISIONS = ("auto", "fp32", "bf16")
LOSSES = ("cross_entropy", "generalized")
NUMBERS = ("lr", "momentum", "weight_decay", "warmup", "gamma", "label_smoothing")


@dataclass(frozen=True)
class Recipe:
    """How to train: everything that ``train`` needs beside model, data and seed.

    Attributes:
        epochs: passes over the data.
        batch_size: samples a step; a last batch of one sample is left out of the
            epoch (BatchNorm has no variance there).
        optimizer: "sgd" (with ``momentum``, optionally Nesterov) or "adam".
        lr: learning rate, the peak one for "onecycle".
        weight_decay: L2 penalty as in torch.optim.
        schedule: "constant"; "multistep" (times ``gamma`` at ``milestones``, in
            epochs); "cosine" to zero; "onecycle" (linear up over the first
            ``warmup`` share of the steps, linear down to zero); "plateau" (times
            ``gamma`` once more than ``patience`` epochs in a row brought no better
            accuracy on the split that ``train`` is told to monitor).
        label_smoothing: share of the target spread over all classes.
        loss: "cross_entropy", or "generalized", (1 - p^0.7) / 0.7 of the labelled
            class's probability p, at which samples that fit badly, such as those with
            wrong labels, pull less (Zhang and Sabuncu, NeurIPS 2018); it takes neither
            smoothing nor soft targets.
        augment: "none", "flip" (left-right) or "crop+flip" (shift by up to
            ``crop_padding`` pixels, reflected at the border); images only.
        shuffle: new order each epoch; False is what the released code does.
        precision: "fp32", "bf16" (autocast) or "auto": bf16 for networks with
            convolutions on hardware with native bfloat16, fp32 elsewhere, and for
            attention on a CPU.

    Raises ``TypeError`` for anything that is not a number where one is due, and
    ``ValueError`` for anything out of range.

    >>> rlap.Recipe(epochs=3, optimizer="adam", lr=1e-3, schedule="cosine").batch_size
    128
    """

    epochs: int = 10
    batch_size: int = 128
    optimizer: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    schedule: str = "onecycle"
    warmup: float = 0.25
    milestones: tuple[int, ...] = ()
    gamma: float = 0.2
    patience: int = 5
    label_smoothing: float = 0.0
    augment: str = "none"
    crop_padding: int = 2
    shuffle: bool = True
    precision: str = "auto"
    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("augment", AUGMENTATIONS),
            ("precision", PRECISIONS),
            ("loss", LOSSES),
        ):
            check_one_of(getattr(self, name), allowed, name)
        for name in ("epochs", "patience"):
            check_count(getattr(self, name), name, minimum=0)
        for name in ("batch_size", "crop_padding"):
            check_count(getattr(self, name), name)
        for name in ("nesterov", "shuffle"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(
                    f"{name} must be True or False, not {getattr(self, name)!r}"
                )
        if not isinstance(self.milestones, tuple | list):
            raise TypeError(
                "milestones must be a tuple of epochs, such as (60, 120), not "
                f"{self.milestones!r}"
            )
        object.__setattr__(self, "milestones", tuple(self.milestones))
        for milestone in self.milestones:
            check_count(milestone, "a milestone")
        for name in NUMBERS:
            check_number(getattr(self, name), name)
        checks = {
            "lr > 0": self.lr > 0,
            "0 <= momentum < 1": 0 <= self.momentum < 1,
            "weight_decay >= 0": self.weight_decay >= 0,
            "0 < warmup < 1": 0 < self.warmup < 1,
            "gamma > 0": self.gamma > 0,
            "gamma < 1 for plateau": self.schedule != "plateau" or self.gamma < 1,
            "0 <= label_smoothing < 1": 0 <= self.label_smoothing < 1,
            "no label_smoothing with the generalized loss": (
                self.loss == "cross_entropy" or not self.label_smoothing
            ),
        }
        for rule, holds in checks.items():
            if not holds:
                raise ValueError(f"a recipe needs {rule}; this one is {self}")


def check_recipe(recipe: object) -> None:
    """Raise ``TypeError`` for what is neither a ``Recipe`` nor None."""
    if recipe is not None and not isinstance(recipe, Recipe):
        raise TypeError(
            f"recipe must be an rlap.Recipe, not {type(recipe).__name__}: "
            "rlap.Recipe(epochs=5)"
        )


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The rate at ``step`` (0-based, over the whole run): a pure function, so that a
    resumed run has no scheduler state to restore ("plateau", which looks at results,
    has; here it stays at the first rate)."""
    total = max(1, recipe.epochs * steps_per_epoch)
    done = step / total
    if recipe.schedule == "multistep":
        epoch = step // steps_per_epoch
        return recipe.lr * recipe.gamma ** sum(epoch >= m for m in recipe.milestones)
    if recipe.schedule == "cosine":
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * done))
    if recipe.schedule == "onecycle":
        # + 1: the first step already moves, the last one is not wasted at rate zero
        up = (step + 1) / (recipe.warmup * total)
        down = (total - step) / ((1 - recipe.warmup) * total)
        return recipe.lr * min(up, down, 1.0)
    return recipe.lr


def make_optimizer(
    recipe: Recipe, parameters: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """The recipe's optimiser over ``parameters``."""
    if recipe.optimizer == "adam":
        parameters = list(parameters)
        # one kernel for all of them; the same updates but for rounding
        fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
        return torch.optim.Adam(
            parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=fused
        )
    return torch.optim.SGD(
        parameters,
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov and recipe.momentum > 0,
    )


def make_plateau(
    recipe: Recipe, optimizer: torch.optim.Optimizer
) -> ReduceLROnPlateau | None:
    """The scheduler of "plateau", to be stepped on an accuracy; else None."""
    if recipe.schedule != "plateau":
        return None
    return ReduceLROnPlateau(
        optimizer, mode="max", factor=recipe.gamma, patience=recipe.patience
    )


def augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Random crops and flips of a batch (B, C, H, W), in its own layout.

    Shift, reflection at the border and flip are one ``index_select`` over pixels, so
    a batch of 128 costs well under a millisecond on a CPU; the result is
    channels_last. Other shapes than images raise ``ValueError``.
    """
    if recipe.augment == "none":
        return images
    if images.dim() != 4:
        raise ValueError(
            f"augment={recipe.augment!r} needs images (B, C, H, W), "
            f"not {tuple(images.shape)}; use augment='none'"
        )
    b, c, h, w = images.shape

    def draw(low: int, high: int) -> Tensor:
        drawn = torch.randint(low, high + 1, (b, 1), generator=generator, device="cpu")
        return drawn.to(images.device)

    rows, cols = (
        torch.arange(n, device=images.device).expand(b, n) for n in (h, w)
    )  # (B, H), (B, W)
    if recipe.augment == "crop+flip":
        pad = recipe.crop_padding
        if pad >= min(h, w):
            raise ValueError(f"crop_padding {pad} is too large for {h}x{w} images")
        rows = reflect(rows + draw(-pad, pad), h)
        cols = reflect(cols + draw(-pad, pad), w)
    flipped = draw(0, 1).bool()
    cols = torch.where(flipped, cols.flip(1), cols)
    first = torch.arange(b, device=images.device).view(b, 1, 1) * (h * w)
    index = first + rows[:, :, None] * w + cols[:, None, :]  # (B, H, W)
    pixels = images.permute(0, 2, 3, 1).reshape(-1, c)
    return pixels[index.flatten()].view(b, h, w, c).permute(0, 3, 1, 2)


def reflect(index: Tensor, size: int) -> Tensor:
    """Mirror out-of-range positions back into 0..size-1 (edge not repeated)."""
    index = index.abs()
    return torch.where(index >= size, 2 * (size - 1) - index, index)


@cache
def native_bf16(device_type: str) -> bool:
    """Whether bfloat16 runs in hardware there (elsewhere it is slower than fp32)."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported()
    # No public query for the CPU; torch's own is underscored, hence the guard.
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device_type == "cpu" and bool(probe and probe())


def resolve_precision(precision: str, model: nn.Module, device: torch.device) -> str:
    """ "fp32" or "bf16" for ``precision``, which may be "auto"."""
    check_one_of(precision, PRECISIONS, "precision")
    if precision != "auto":
        return precision
    convolutional = any(isinstance(m, nn.Conv2d) for m in model.modules())
    suited = convolutional and not (device.type == "cpu" and attends(model))
    return "bf16" if suited and native_bf16(device.type) else "fp32"


def attends(model: nn.Module) -> bool:
    """Whether a part of it is attention, by the name of its class: on a CPU its
    backward pass takes up to ten times as long in bf16 (findings/attention_bf16.sh)."""
    return any("attention" in type(m).__name__.lower() for m in model.modules())
