"""The parameters of each notebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from rlap.attribution import METHODS
from rlap.corruption.corrupted import INPUT_KINDS, KINDS, LABEL_KINDS
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
from rlap.experiments.protocol import CIFAR10, SPEECH
from rlap.experiments.study_parameters import StudyParameters, quick_clips
from rlap.partition import ONE_DIMENSIONAL, RULES
from rlap.sensitivity import CRITERIA

__all__ = ["NOTEBOOKS", "TIERS", "ParameterError", "Parameters"]


@dataclass(frozen=True)
class WalkthroughParameters(Parameters):
    """What the two walkthroughs have in common; ``None`` leaves a choice to the tier.

    Each goes, stage by stage, through a run that the notebook of all arms does at once:
    sizes, network and recipes are those of ``study``.
    """

    tier: str = choice("smoke", *TIERS)
    seed: int = between(0, 0)
    rate: float = between(0.5, 0, 1)
    train_size: int | None = between(None, 100, 50_000)
    test_size: int | None = between(None, 50, 10_000)
    width: int | None = between(None, 1, 512)
    epochs: int | None = between(None, 1)
    finetune_epochs: int | None = between(None, 1)
    method: str = choice("gradient_x_activation", *METHODS)
    criterion: str = choice("regression", *CRITERIA)
    out: str = ""

    @property
    def study(self) -> StudyParameters:
        """The run of the notebook of all arms, resolved, with its default noise."""
        names = ("tier", "seed", "model", "width", "epochs", "finetune_epochs")
        given = {name: getattr(self, name) for name in names}
        return StudyParameters(dataset=self.data_set, **given).resolved()

    def resolved(self) -> Self:
        """The same with every ``None`` replaced by its tier's value."""
        return self.filled(self.study.identity())


@dataclass(frozen=True)
class Cifar10Parameters(WalkthroughParameters):
    """Parameters of notebook 01."""

    data_set: ClassVar[str] = CIFAR10

    kind: str = choice("gaussian_clamped", *KINDS)
    level: float = between(8.0, 0)
    model: str | None = choice(None, None, "small", "resnet18")
    rule: str = choice("gmm", *RULES)
    units: int = between(40, 1, 255)

    @property
    def noise_level(self) -> float | None:
        """The level, or None for label noise, which has none."""
        return self.level if self.kind in INPUT_KINDS else None


SIGNAL = "gaussian_signal"  # on the frames of the recording, not on the padding
SPEECH_KINDS = (
    "gaussian",  # on the MFCCs as released, padding included
    SIGNAL,
    WAVEFORM,  # on the recording, before the MFCCs
    *(kind for kind in LABEL_KINDS if kind != "asymmetric"),  # its pairs are of images
)


@dataclass(frozen=True)
class SpeechParameters(WalkthroughParameters):
    """Parameters of notebook 02."""

    data_set: ClassVar[str] = SPEECH

    source: str = choice("auto", *SOURCES)
    split: str = choice("speaker", "speaker", "random")
    frames: int = choice(SIGNAL_FRAMES, SIGNAL_FRAMES, RELEASED_FRAMES)
    kind: str = choice("gaussian", *SPEECH_KINDS)
    level: float = between(15.0, 0)
    snr_db: float = between(0.0, -60, 60)
    model: str | None = choice(None, None, "speech_cnn", "speech_res8")
    rule: str = choice("gmm", "gmm", *ONE_DIMENSIONAL)
    units: int = between(20, 1, 127)

    @property
    def data_options(self) -> dict[str, object]:
        """Options of ``rlap.load``."""
        options = {"source": self.source, "frames": self.frames, "split": self.split}
        return options | quick_clips(self.tier)

    @property
    def noise_level(self) -> float | None:
        """The level: of MFCCs, or a signal-to-noise ratio in dB; None for labels."""
        levels = {"gaussian": self.level, SIGNAL: self.level, WAVEFORM: self.snr_db}
        return levels.get(self.kind)


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
