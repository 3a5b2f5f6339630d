"""The parameters of the notebooks that forget a class, and what their tiers make of
them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from rlap.data.images import CIFAR10_CLASSES
from rlap.experiments.checked import TIERS, Parameters, between, choice
from rlap.unlearning.common.statistics import POOLINGS
from rlap.unlearning.methods.lra_npp import SCOPES
from rlap.unlearning.methods.osp import READINGS

# "trained" has the methods that train as well as those that do not
METHODS = ("one_shot", "trained")


@dataclass(frozen=True)
class ForgettingParameters(Parameters):
    """What all have; ``None`` leaves a choice to the tier.

    One run forgets one class of one network: all methods share the network, the
    retrained ones they are measured by, and the data.
    """

    data_set: ClassVar[str] = "cifar10"

    tier: str = choice("smoke", *TIERS)
    seed: int = between(0, 0)
    forget: str = choice("ship", *CIFAR10_CLASSES)
    model: str | None = choice(None, None, "small", "vgg", "resnet18", "vit")
    train_size: int | None = between(None, 500, 50_000)
    test_size: int | None = between(None, 100, 10_000)
    epochs: int | None = between(None, 1)
    lr: float = between(0.05, 1e-6, 10)
    relearn_steps: int | None = between(None, 1)

    def resolved(self) -> Self:
        """The same with every ``None`` replaced by its tier's value."""
        return self.filled(FORGETTING_TIERS[self.tier])

    @property
    def label(self) -> int:
        """The class to forget as a number."""
        return CIFAR10_CLASSES.index(self.forget)

    @property
    def draw(self) -> int:
        """A seed of its own for each seed and class: random controls of ten classes
        should not all be one draw."""
        return len(CIFAR10_CLASSES) * self.seed + self.label


@dataclass(frozen=True)
class RelevanceParameters(ForgettingParameters):
    """Parameters of notebook 03, LRA-NPP."""

    methods: str = choice("one_shot", *METHODS)
    tuning_epochs: int | None = between(None, 1)
    images: int | None = between(None, 1, 1000)
    samples: int | None = between(None, 10, 50_000)
    top: int | None = between(None, 1, 256)
    prune_units: int | None = between(None, 1, 256)
    scope: str = choice("all", *SCOPES)
    out: str = ""


@dataclass(frozen=True)
class SoftPruningParameters(ForgettingParameters):
    """Parameters of notebook 04, OSP."""

    strength: float = between(1e-2, 0, 1)
    fraction: float = between(0.25, 1e-3, 1)
    floor: float = between(0.5, 0, 1)
    reading: str = choice("batchnorm", *READINGS)
    pooling: str = choice("max", *POOLINGS)
    out: str = ""


@dataclass(frozen=True)
class RivalsParameters(ForgettingParameters):
    """Parameters of notebook 07, the rivals: data and networks are those of notebook 03
    for the same ``seed``; what forgets and what judges may have others."""

    methods: str = choice("one_shot", *METHODS)
    tuning_epochs: int | None = between(None, 1)
    images: int | None = between(None, 1, 1000)
    forget_seed: int | None = between(None, 0)
    examine_seed: int | None = between(None, 0)
    out: str = ""

    @property
    def forgetting(self) -> int:
        """The seed of the methods."""
        return self.seed if self.forget_seed is None else self.forget_seed

    @property
    def draw(self) -> int:
        """The seed of all that judges."""
        return super().draw if self.examine_seed is None else self.examine_seed


# a fifth of train_size is held out, for the images that a method may look at and for
# curves over its settings; paper: the papers' kind of network and sizes (a GPU's work)
FORGETTING_TIERS: dict[str, dict[str, object]] = {
    "smoke": {
        "train_size": 900,
        "test_size": 200,
        "model": "small",
        "epochs": 5,
        "tuning_epochs": 1,
        "relearn_steps": 5,
        "images": 12,
        "samples": 100,
    },
    "small": {
        "train_size": 5_000,
        "test_size": 5_000,
        "model": "small",
        "epochs": 8,
        "tuning_epochs": 5,
        "relearn_steps": 60,
        "images": 36,
        "samples": 900,
    },
    "paper": {
        "train_size": 50_000,
        "test_size": 10_000,
        "model": "resnet18",
        "epochs": 60,
        "tuning_epochs": 10,
        "relearn_steps": 100,
        "images": 36,
        "samples": 900,
    },
}
