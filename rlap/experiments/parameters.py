"""The parameters of each notebook, and what its tiers make of them: told once, for the
notebook of all arms and for the walkthroughs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from rlap.attribution import METHODS
from rlap.corruption.corrupted import INPUT_KINDS, KINDS, LABEL_KINDS
from rlap.corruption.waveform_noise import KIND as WAVEFORM
from rlap.data.speech.mfcc import RELEASED_FRAMES, SIGNAL_FRAMES
from rlap.data.speech.origins import SOURCES
from rlap.experiments.bad_data.parameters import HUMAN, BadDataParameters
from rlap.experiments.checked import (
    TIERS,
    ParameterError,
    Parameters,
    between,
    choice,
)
from rlap.experiments.forgetting.parameters import (
    RelevanceParameters,
    RivalsParameters,
    SoftPruningParameters,
)
from rlap.experiments.protocol import BOTH, CIFAR10, SPEECH, name_of, protocol_of
from rlap.partition import ONE_DIMENSIONAL, RULES
from rlap.sensitivity import CRITERIA

__all__ = [
    "NOTEBOOKS",
    "TIERS",
    "BadDataParameters",
    "Cifar10Parameters",
    "OwnModelParameters",
    "ParameterError",
    "Parameters",
    "SpeechParameters",
    "StudyParameters",
    "WalkthroughParameters",
]


# what a run compares, from few networks to many: the paper's arms; and those that train
# once with a decaying rate; or the rival criteria; or both; every control. First, since
# a run with more arms takes its place in the paper's tables: what other papers would do
ARMS = ("rivals", "main", "decayed", "criteria", "decayed+criteria", "all")


@dataclass(frozen=True)
class StudyParameters(Parameters):
    """Parameters of the notebook of all arms; ``None`` leaves a choice to the tier."""

    tier: str = choice("smoke", *TIERS)
    seed: int = between(0, 0)
    dataset: str = choice(CIFAR10, *BOTH)
    protocol: str = "controlled"
    arms: str = choice("main", *ARMS)
    kind: str | None = choice(None, None, *KINDS, *HUMAN)
    rate: float = between(0.5, 0, 1)
    level: float | None = between(None, 0)
    train_size: int | None = between(None, 100, 50_000)
    test_size: int | None = between(None, 100, 10_000)
    model: str | None = choice(
        None, None, "small", "resnet18", "speech_cnn", "speech_res8"
    )
    width: int | None = between(None, 1, 512)
    epochs: int | None = between(None, 1)
    finetune_epochs: int | None = between(None, 1)
    units: int | None = between(None, 2, 255)
    out: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind in HUMAN and self.dataset != CIFAR10:
            raise ParameterError(f"kind {self.kind!r} is human labels of CIFAR-10")
        # one spelling, so that one protocol has one identity
        object.__setattr__(self, "protocol", name_of(self.protocol))

    def resolved(self) -> Self:
        """The same with every ``None`` replaced by what tier and data set choose."""
        usual = {**DEFAULTS[self.dataset], **STUDY_TIERS[self.dataset][self.tier]}
        if self.model not in (None, usual["model"]):
            usual.pop("width", None)  # it belongs to the tier's network
        run = self.filled(usual)
        return run if run.kind in INPUT_KINDS else replace(run, level=None)

    @property
    def data_set(self) -> str:
        """The data set's name for ``rlap.load``."""
        return "cifar10n" if self.kind in HUMAN else self.dataset

    @property
    def data_options(self) -> dict[str, object]:
        """Options of ``rlap.load``."""
        if self.kind in HUMAN:
            return {"labels": HUMAN[self.kind]}
        if self.dataset != SPEECH:
            return {}
        protocol = protocol_of(self.protocol)
        options = {"frames": protocol.frames, "split": protocol.split}
        return options | quick_clips(self.tier)


def quick_clips(tier: str) -> dict[str, object]:
    """Where the smoke tier has to synthesise clips, few and plain ones."""
    return {"clips": 1_000, "difficulty": "plain"} if tier == "smoke" else {}


DEFAULTS: dict[str, dict[str, object]] = {
    CIFAR10: {"kind": "gaussian_clamped", "level": 8.0, "units": 40},
    SPEECH: {"kind": "gaussian", "level": 15.0, "units": 20},
}
# smoke: shows that everything runs, on no more than what a network learns from at all;
# small: a quarter of the paper's images, a network that a CPU can train, and as in the
# paper twice as many epochs of initial training as of fine-tuning (some minutes a run);
# paper: its network and sizes (a GPU's work)
STUDY_TIERS: dict[str, dict[str, dict[str, object]]] = {
    CIFAR10: {
        "smoke": {
            "train_size": 4_000,
            "test_size": 1_000,
            "model": "small",
            "epochs": 6,
            "finetune_epochs": 3,
        },
        "small": {
            "train_size": 12_500,
            "test_size": 10_000,
            "model": "small",
            "epochs": 8,
            "finetune_epochs": 4,
        },
        "paper": {
            "train_size": 50_000,
            "test_size": 10_000,
            "model": "resnet18",
            "epochs": 60,
            "finetune_epochs": 30,
        },
    },
    SPEECH: {
        "smoke": {
            "train_size": 1_000,
            "test_size": 300,
            "model": "speech_res8",
            "width": 16,
            "epochs": 10,
            "finetune_epochs": 5,
        },
        "small": {"model": "speech_cnn", "epochs": 40, "finetune_epochs": 20},
        "paper": {"model": "speech_cnn", "epochs": 300, "finetune_epochs": 150},
    },
}


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
    model: str | None = None  # each walkthrough has networks of its own
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
    "07_rivals": RivalsParameters,
    "05_protocols": StudyParameters,
    "06_bad_data": BadDataParameters,
}
