"""Samples with labels, and how to draw class-balanced parts of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from rlap import checks
from rlap.stored import Stored
from rlap.wording import in_brief

S = TypeVar("S", bound="Split")


class StandInDataWarning(UserWarning):
    """The data asked for could not be had, and other data took its place.

    >>> import warnings
    >>> warnings.simplefilter("error", StandInDataWarning)  # to stop there instead
    """


@dataclass(frozen=True)
class Normalisation:
    """Per-channel mean and standard deviation of pixels in [0, 1].

    Raises:
        ValueError: lengths differ, or a standard deviation is not positive.

    >>> half = Normalisation(mean=(0.5,), std=(0.25,))
    >>> half.apply(torch.tensor([[[1.0]]]))
    tensor([[[2.]]])
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError("mean and std must name the same channels, at least one")
        for value in self.mean:
            checks.check_number(value, "mean")
        if any(checks.check_number(value, "std") <= 0 for value in self.std):
            raise ValueError(f"std must be positive, not {self.std}")

    def apply(self, x01: Tensor) -> Tensor:
        """Normalise pixels in [0, 1], shape (N, C, ...), to a new tensor."""
        return self.apply_(x01.clone())

    def apply_(self, x01: Tensor) -> Tensor:
        """Normalise in place; the same values as ``apply``."""
        mean, std = self._constants(x01)
        return x01.sub_(mean).div_(std)

    def undo(self, x: Tensor) -> Tensor:
        """Turn normalised values, shape (N, C, ...), back into pixels in [0, 1]."""
        mean, std = self._constants(x)
        return x.mul(std).add_(mean)

    def _constants(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.ndim < 2 or x.shape[1] != len(self.mean):
            raise ValueError(
                f"this normalisation is for {len(self.mean)} channels, shape "
                f"(N, {len(self.mean)}, ...); got {tuple(x.shape)}"
            )
        shape = (1, -1) + (1,) * (x.ndim - 2)
        mean = torch.tensor(self.mean, dtype=x.dtype, device=x.device)
        std = torch.tensor(self.std, dtype=x.dtype, device=x.device)
        return mean.view(shape), std.view(shape)


@dataclass(frozen=True, eq=False)
class Split:
    """Samples and their labels.

    Args:
        inputs: (N, ...) float32 (other floating types are converted), or ``Stored``.
        labels: (N,) class numbers, kept as int64.
        normalisation: what turned pixels into ``inputs``, where they are images.
        num_classes: C; by default the largest label plus one.
        targets: (N, C) probabilities to train towards in place of the labels.
        weights: (N,), how much each sample counts in the loss; 0 leaves it out.

    Raises:
        TypeError, ValueError: see ``rlap.checks``.

    >>> split = rlap.Split(torch.randn(6, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2]))
    >>> len(split), split.num_classes, len(split.subset(split.labels == 1))
    (6, 3, 2)
    """

    inputs: Tensor | Stored
    labels: Tensor
    normalisation: Normalisation | None = None
    num_classes: int | None = None
    targets: Tensor | None = None
    weights: Tensor | None = None

    __repr__ = in_brief

    # names of the fields with one row a sample; subclasses may add to them
    _per_sample: ClassVar[tuple[str, ...]] = ("inputs", "labels", "targets", "weights")

    def __post_init__(self) -> None:
        inputs = checks.check_inputs(self.inputs)
        if not isinstance(inputs, Stored):
            inputs = inputs.detach().float()
        count = self.num_classes
        if count is not None:
            count = checks.check_count(count, "num_classes")
        labels = checks.check_labels(self.labels, len(inputs), count)
        if labels.device != inputs.device:
            raise ValueError(
                f"inputs are on {inputs.device} and labels on {labels.device}; "
                "put both on one device"
            )
        if self.normalisation is not None:
            self.normalisation._constants(inputs[:1])  # the channels must fit
        count = count or int(labels.max()) + 1
        targets = check_targets(self.targets, len(labels), count)
        weights = check_weights(self.weights, len(labels))
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "num_classes", count)
        object.__setattr__(self, "targets", targets)
        object.__setattr__(self, "weights", weights)

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, index: Any, generator: torch.Generator | None = None) -> Tensor:
        """Return what training sees when it asks for these samples, (n, ...).

        Here simply ``inputs[index]`` (for a slice a view: do not write into it);
        a subclass may draw noise from ``generator`` at each access.
        """
        return self.inputs[index]

    def subset(self: S, which: Tensor | Sequence[int]) -> S:
        """Return the samples of a mask (N,) or of indices (n,), in that order.

        Raises:
            TypeError, ValueError: neither of the two, out of range, or empty.
        """
        index = checks.as_indices(which)
        if index.dtype == torch.bool:
            index = checks.check_mask(index, len(self), "mask").nonzero().squeeze(1)
        index = checks.check_labels(index, len(index), len(self), "index")
        index = index.to(self.inputs.device)
        return self._each(lambda rows: chosen(rows, index))

    def to(self: S, device: torch.device | str) -> S:
        """Return the same split on another device (itself if it is there)."""
        if self.inputs.device == torch.device(device):
            return self
        return self._each(lambda rows: rows.to(device))

    def _each(self: S, change: Callable[[Tensor], Tensor]) -> S:
        """The same split with every field of one row a sample changed."""
        fields = {name: getattr(self, name) for name in self._per_sample}
        return replace(
            self, **{name: change(x) for name, x in fields.items() if x is not None}
        )

    def to_tensors(self, seed: int = 0) -> Split:
        """Return a split whose inputs are fixed; a plain one is that already."""
        return self

    def fixed_inputs(self) -> Tensor:
        """``inputs``, for what looks at them once and wants no redrawn noise."""
        return self.inputs


def chosen(rows: Tensor | Stored, index: Tensor) -> Tensor | Stored:
    """Rows (n,) of what a ``Split`` holds."""
    return rows.subset(index) if isinstance(rows, Stored) else rows[index]


def check_targets(targets: Tensor | None, n: int, classes: int) -> Tensor | None:
    """Probabilities (n, C) as float32, or a ``ValueError``; None stays None."""
    if targets is None:
        return None
    checks.check_finite(targets, "targets")
    if targets.shape != (n, classes) or not targets.is_floating_point():
        raise ValueError(
            f"targets must be probabilities ({n}, {classes}), a row a sample and a "
            f"column a class, not {targets.dtype} {tuple(targets.shape)}"
        )
    sums = targets.float().sum(1)
    if targets.min() < 0 or not torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
        raise ValueError("targets must not be negative, and each row must add up to 1")
    return targets.detach().float()


def check_weights(weights: Tensor | None, n: int) -> Tensor | None:
    """Weights (n,) as float32, some above 0, or a ``ValueError``; None stays None."""
    if weights is None:
        return None
    checks.check_finite(weights, "weights")
    if weights.shape != (n,) or weights.min() < 0 or weights.max() <= 0:
        raise ValueError(
            f"weights must have shape ({n},), none negative and some above 0"
        )
    return weights.detach().float()


def check_split(split: object, name: str = "the data") -> Split:
    """Return ``split`` if it is a ``Split``, else a clear ``TypeError``."""
    if not isinstance(split, Split):
        raise TypeError(
            f"{name} must be an rlap.Split(inputs, labels), two tensors, not a "
            f"{type(split).__name__}"
        )
    return split


@dataclass(frozen=True, eq=False)
class Dataset:
    """A train and a test split with where they came from.

    ``digest`` identifies the whole set, before any subset was taken. ``stand_in``
    tells that these are not data which the paper speaks about. ``banner`` is what
    must stand above anything made from the data, or "". ``rows`` (N,) are the places
    of the training samples in the whole set, where it has an official order.

    >>> digits = rlap.load("digits", train_size=100)
    >>> len(digits.train), digits.classes[:3], digits.stand_in
    (100, ('0', '1', '2'), True)
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    name: str
    source: str
    digest: str
    stand_in: bool = False
    banner: str = ""
    rows: Tensor | None = None

    __repr__ = in_brief

    def __post_init__(self) -> None:
        if self.stand_in and not self.banner:
            raise ValueError("data that stand in need a banner that says so")


def stratified_indices(labels: Tensor, size: int, seed: int = 0) -> Tensor:
    """Draw exactly ``size`` samples, each class in proportion to its frequency.

    Places that do not divide evenly go to the largest remainders (ties: the lower
    class). The global random state is neither used nor changed.

    Args:
        labels: (N,) class numbers.
        size: how many, between the number of classes present and N.
        seed: of the draw within each class.

    Returns:
        (size,) int64 indices, sorted, on the CPU.

    Raises:
        ValueError: ``size`` out of range.

    >>> labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
    >>> labels[stratified_indices(labels, 5)]
    tensor([0, 0, 1, 1, 2])
    """
    labels = checks.check_labels(labels, len(labels)).cpu()
    classes, counts = labels.unique(return_counts=True)
    total = len(labels)
    size = checks.check_count(size, "size", minimum=len(classes), maximum=total)
    shares = [divmod(size * int(count), total) for count in counts]
    quotas = [whole for whole, _ in shares]
    by_remainder = sorted(range(len(shares)), key=lambda c: -shares[c][1])
    for c in by_remainder[: size - sum(quotas)]:
        quotas[c] += 1
    generator = torch.Generator().manual_seed(checks.check_seed(seed))
    picked = []
    for c, quota in zip(classes, quotas, strict=True):
        members = (labels == c).nonzero().squeeze(1)
        order = torch.randperm(len(members), generator=generator, device="cpu")
        picked.append(members[order[:quota]])
    return torch.cat(picked).sort().values
