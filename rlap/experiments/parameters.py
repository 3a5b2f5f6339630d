"""The parameters of each notebook, and what its tiers make of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import ClassVar, Self

from rlap.attribution import METHODS
from rlap.corruption.corrupted import INPUT_KINDS, KINDS
from rlap.corruption.waveform_noise import KIND as WAVEFORM
from rlap.data.speech.mfcc import RELEASED_FRAMES, SIGNAL_FRAMES
from rlap.data.speech.origins import SOURCES
from rlap.experiments.checked import (
    TIERS,
    ParameterError,
    Parameters,
    between,
    choice,
)
from rlap.experiments.forgetting.parameters import (
    RelevanceParameters,
    SoftPruningParameters,
)
from rlap.experiments.study_parameters import StudyParameters
from rlap.partition import ONE_DIMENSIONAL, RULES
from rlap.sensitivity import CRITERIA

__all__ = ["NOTEBOOKS", "TIERS", "ParameterError", "Parameters"]


@dataclass(frozen=True)
class Cifar10Parameters(Parameters):
    """Parameters of notebook 01; ``None`` leaves a choice to the tier."""

    data_set: ClassVar[str] = "cifar10"

    tier: str = choice("smoke", *TIERS)
    seed: int = between(0, 0)
    kind: str = choice("gaussian_clamped", *KINDS)
    rate: float = between(0.5, 0, 1)
    level: float = between(8.0, 0)
    train_size: int | None = between(None, 100, 50_000)
    test_size: int | None = between(None, 100, 10_000)
    model: str | None = choice(None, None, "small", "resnet18")
    width: int | None = between(None, 1, 512)
    epochs: int | None = between(None, 1)
    finetune_epochs: int | None = between(None, 1)
    lr: float = between(0.1, 1e-6, 10)
    method: str = choice("gradient_x_activation", *METHODS)
    rule: str = choice("gmm", *RULES)
    criterion: str = choice("regression", *CRITERIA)
    units: int = between(40, 1, 255)
    out: str = ""

    def resolved(self) -> Self:
        """The same with every ``None`` replaced by its tier's value."""
        given = {k: v for k, v in asdict(self).items() if v is not None}
        return replace(self, **{**CIFAR10_TIERS[self.tier], **given})

    @property
    def noise_level(self) -> float | None:
        """The level, or None for label noise, which has none."""
        return self.level if self.kind in INPUT_KINDS else None


# smoke: shows that everything runs; small: published small-scale results;
# paper: the paper's network, size and epochs (a GPU's work)
CIFAR10_TIERS: dict[str, dict[str, object]] = {
    "smoke": {
        "train_size": 2_000,
        "test_size": 1_000,
        "model": "small",
        "epochs": 6,
        "finetune_epochs": 3,
    },
    "small": {
        "train_size": 12_500,
        "test_size": 10_000,
        "model": "small",
        "epochs": 10,
        "finetune_epochs": 5,
    },
    "paper": {
        "train_size": 50_000,
        "test_size": 10_000,
        "model": "resnet18",
        "epochs": 60,
        "finetune_epochs": 30,
    },
}


SIGNAL = "gaussian_signal"  # on the frames of the recording, not on the padding
SPEECH_KINDS = (
    "gaussian",  # on the MFCCs as released, padding included
    SIGNAL,
    WAVEFORM,  # on the recording, before the MFCCs
    "symmetric_exclusive",
    "symmetric_inclusive",
    "pair",
)


@dataclass(frozen=True)
class SpeechParameters(Parameters):
    """Parameters of notebook 02; ``None`` leaves a choice to the tier."""

    data_set: ClassVar[str] = "speech_commands"

    tier: str = choice("smoke", *TIERS)
    seed: int = between(0, 0)
    source: str = choice("auto", *SOURCES)
    split: str = choice("speaker", "speaker", "random")
    frames: int = choice(SIGNAL_FRAMES, SIGNAL_FRAMES, RELEASED_FRAMES)
    kind: str = choice("gaussian", *SPEECH_KINDS)
    rate: float = between(0.5, 0, 1)
    level: float = between(15.0, 0)
    snr_db: float = between(0.0, -60, 60)
    train_size: int | None = between(None, 100)
    test_size: int | None = between(None, 50)
    model: str = choice("speech_cnn", "speech_cnn", "speech_res8")
    epochs: int | None = between(None, 1)
    finetune_epochs: int | None = between(None, 1)
    released_epochs: int | None = between(None, 1)
    lr: float | None = between(None, 1e-6, 1)
    method: str = choice("gradient_x_activation", *METHODS)
    rule: str = choice("gmm", "gmm", *ONE_DIMENSIONAL)
    criterion: str = choice("regression", *CRITERIA)
    units: int = between(20, 1, 127)
    out: str = ""

    def resolved(self) -> Self:
        """The same with every ``None`` replaced by the value of its tier or its network
        (sizes stay ``None``, the whole set, above the smoke tier)."""
        given = {k: v for k, v in asdict(self).items() if v is not None}
        usual = SPEECH_TIERS[self.tier] | {"lr": SPEECH_RATES[self.model]}
        if (self.tier, self.model) == ("small", "speech_res8"):
            # each takes 2.5 times as long
            usual |= {"epochs": 16, "finetune_epochs": 8, "released_epochs": 32}
        return replace(self, **{**usual, **given})

    @property
    def data_options(self) -> dict[str, object]:
        """Options of ``rlap.load``; where smoke has to make clips, few and plain."""
        options = {"source": self.source, "frames": self.frames, "split": self.split}
        if self.tier == "smoke":
            options |= {"clips": 1_000, "difficulty": "plain"}
        return options

    @property
    def noise_level(self) -> float | None:
        """The level: of MFCCs, or a signal-to-noise ratio in dB; None for labels."""
        levels = {"gaussian": self.level, SIGNAL: self.level, WAVEFORM: self.snr_db}
        return levels.get(self.kind)


# sizes that are left out are the whole set; paper: the released number of epochs
SPEECH_TIERS: dict[str, dict[str, object]] = {
    "smoke": {
        "train_size": 600,
        "test_size": 200,
        "epochs": 20,
        "finetune_epochs": 8,
        "released_epochs": 20,
    },
    # the released retrain starts at a tenth of our rate: it gets more epochs
    "small": {"epochs": 40, "finetune_epochs": 20, "released_epochs": 120},
    "paper": {"epochs": 300, "finetune_epochs": 150, "released_epochs": 300},
}
# of fresh networks; at 1e-2 the paper's learns more, but 107 of its 128 units go dead
SPEECH_RATES = {"speech_cnn": 5e-3, "speech_res8": 2e-3}


@dataclass(frozen=True)
class OwnModelParameters(Parameters):
    """Parameters of the how-to notebook."""

    tier: str = choice("smoke", *TIERS)
    seed: int = between(0, 0)
    rate: float = between(0.3, 0, 1)


# the notebooks that leave a record, and so can be run by `rlap run`
NOTEBOOKS: dict[str, type[Parameters]] = {
    "01_cifar10": Cifar10Parameters,
    "02_speech": SpeechParameters,
    "03_relevance": RelevanceParameters,
    "04_soft_pruning": SoftPruningParameters,
    "05_protocols": StudyParameters,
}
