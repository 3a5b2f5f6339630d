"""The parameters of a run, and what its tier makes of them: told here once, for the
notebook of all arms and for the walkthroughs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from rlap.corruption.corrupted import INPUT_KINDS, KINDS
from rlap.experiments.checked import TIERS, Parameters, between, choice
from rlap.experiments.protocol import BOTH, CIFAR10, SPEECH, name_of, protocol_of

# what a run compares, from few networks to many: the paper's arms; and those that train
# once with a decaying rate; or the rival criteria; or both; every control
ARMS = ("main", "decayed", "criteria", "decayed+criteria", "all")


@dataclass(frozen=True)
class StudyParameters(Parameters):
    """Parameters of the notebook of all arms; ``None`` leaves a choice to the tier."""

    tier: str = choice("smoke", *TIERS)
    seed: int = between(0, 0)
    dataset: str = choice(CIFAR10, *BOTH)
    protocol: str = "controlled"
    arms: str = choice("main", *ARMS)
    kind: str | None = choice(None, None, *KINDS)
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
        return self.dataset

    @property
    def data_options(self) -> dict[str, object]:
        """Options of ``rlap.load``."""
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
