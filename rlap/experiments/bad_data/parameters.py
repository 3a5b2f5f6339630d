"""The parameters of the notebook that repairs bad data, and what its tiers make of
them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from rlap.corruption.corrupted import INPUT_KINDS
from rlap.experiments.checked import TIERS, Parameters, between, choice
from rlap.experiments.protocol import CIFAR10, SPEECH

BOTH = (CIFAR10, SPEECH, "digits")
LABELS = ("symmetric_exclusive", "asymmetric", "pair")
HUMAN = {"human_worst": "worst", "human_aggregate": "aggregate"}
# what a few inputs are replaced by: nothing, their own pixels in another order, digits
REPLACED = ("black", "shuffled", "foreign")
CLEAN = "clean"
KINDS = (CLEAN, *LABELS, *HUMAN, *INPUT_KINDS[:2], *REPLACED)
# "main" has what needs nothing but this package, "all" cleanlab's arms, too
ARMS = ("main", "all")


@dataclass(frozen=True)
class BadDataParameters(Parameters):
    """Parameters of notebook 06; ``None`` leaves a choice to the tier and the kind.

    A sixth of ``train_size`` is held out, as bad as the rest.
    """

    tier: str = choice("smoke", *TIERS)
    seed: int = between(0, 0)
    dataset: str = choice(CIFAR10, *BOTH)
    kind: str = choice("symmetric_exclusive", *KINDS)
    rate: float | None = between(None, 0, 1)
    level: float | None = between(None, 0)
    memorised: bool = False  # a network that was trained until it knew its labels
    arms: str = choice("main", *ARMS)
    train_size: int | None = between(None, 120, 60_000)
    test_size: int | None = between(None, 100, 10_000)
    model: str | None = choice(None, None, "small", "resnet18", "speech_res8")
    width: int | None = between(None, 1, 512)
    epochs: int | None = between(None, 1)
    out: str = ""

    def resolved(self) -> Self:
        """The same with every ``None`` replaced by what tier and kind choose."""
        usual = dict(BAD_DATA_TIERS[self.dataset][self.tier])
        if self.model not in (None, usual["model"]):
            usual.pop("width", None)  # it belongs to the tier's network
        usual |= {"rate": RATES.get(self.kind, 0.4), "level": 8.0}
        if self.dataset == SPEECH:
            usual["level"] = 15.0
        run = self.filled(usual)
        without = {} if run.kind in INPUT_KINDS else {"level": None}
        if run.kind == CLEAN or run.kind in HUMAN:
            without["rate"] = None  # there is nothing to choose
        return replace(run, **without)

    @property
    def noise_level(self) -> float | None:
        """The level of input noise; None for every other kind."""
        return self.resolved().level

    @property
    def data_set(self) -> str:
        """The data set's name for ``rlap.load``."""
        return "cifar10n" if self.kind in HUMAN else self.dataset

    @property
    def data_options(self) -> dict[str, object]:
        """Options of ``rlap.load``."""
        if self.kind in HUMAN:
            return {"labels": HUMAN[self.kind]}
        if self.dataset == SPEECH:
            quick = {"clips": 1_000, "difficulty": "plain"}
            return {"split": "speaker"} | (quick if self.tier == "smoke" else {})
        return {}


RATES = dict.fromkeys(REPLACED, 0.05) | dict.fromkeys(INPUT_KINDS, 0.5)
# smoke: shows that everything runs; small: 12,500 images and 2,500 held out, a network
# that a CPU can train; paper: the paper's network and sizes (a GPU's work)
BAD_DATA_TIERS: dict[str, dict[str, dict[str, object]]] = {
    CIFAR10: {
        "smoke": {
            "train_size": 1_000,
            "test_size": 500,
            "model": "small",
            "epochs": 4,
        },
        "small": {
            "train_size": 15_000,
            "test_size": 10_000,
            "model": "small",
            "epochs": 10,
        },
        "paper": {
            "train_size": 50_000,
            "test_size": 10_000,
            "model": "resnet18",
            "epochs": 60,
        },
    },
    "digits": dict.fromkeys(
        TIERS, {"train_size": 1_200, "test_size": 300, "model": "small", "epochs": 10}
    ),
    SPEECH: {
        "smoke": {
            "train_size": 600,
            "test_size": 200,
            "model": "speech_res8",
            "width": 16,
            "epochs": 10,
        },
        "small": {"model": "speech_res8", "width": 45, "epochs": 30},
        "paper": {"model": "speech_res8", "width": 45, "epochs": 100},
    },
}
