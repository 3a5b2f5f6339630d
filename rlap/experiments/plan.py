"""What a protocol means for one run: every setting of every stage, spelled out.

``plan`` is the only place that reads the fields of a ``Protocol``; the study does what
the plan says. So a test can show for each field what it changes, and that it changes
nothing else.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

from rlap.corruption import INPUT_KINDS, KINDS
from rlap.experiments.parameters import TIERS, Parameters, between, choice
from rlap.experiments.protocol import (
    BOTH,
    CIFAR10,
    SPEECH,
    Protocol,
    name_of,
    protocol_of,
)
from rlap.finetuning import FULL_RECIPE, HEAD_RECIPE
from rlap.recipe import Recipe

ARMS = ("main", "criteria", "all")
RIVALS = ("abs", "rms", "freq", "std")
CONTROLS = ("random", "magnitude")


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

    def resolved(self) -> StudyParameters:
        """The same with every ``None`` replaced by what tier and data set choose."""
        given = {k: v for k, v in asdict(self).items() if v is not None}
        filled = {**DEFAULTS[self.dataset], **STUDY_TIERS[self.dataset][self.tier]}
        run = replace(self, **{**filled, **given})
        return run if run.kind in INPUT_KINDS else replace(run, level=None)

    def data_options(self) -> tuple[str, dict[str, object]]:
        """Name and options of the data set, as ``rlap.data.data_digest`` takes them."""
        return self.dataset, load_options(protocol_of(self.protocol), self.dataset)


DEFAULTS: dict[str, dict[str, object]] = {
    CIFAR10: {"kind": "gaussian_clamped", "level": 8.0, "units": 40},
    SPEECH: {"kind": "gaussian", "level": 15.0, "units": 20},
}
# small: a tenth of the paper's epochs on a quarter of its images, twice as many
# epochs of initial training as of fine-tuning like the paper; paper: its sizes (GPU)
STUDY_TIERS: dict[str, dict[str, dict[str, object]]] = {
    CIFAR10: {
        "smoke": {
            "train_size": 2_500,
            "test_size": 1_000,
            "model": "small",
            "epochs": 4,
            "finetune_epochs": 2,
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
    },
    SPEECH: {
        "smoke": {
            "train_size": 600,
            "test_size": 300,
            "model": "speech_cnn",
            "epochs": 4,
            "finetune_epochs": 2,
        },
        "small": {"model": "speech_cnn", "epochs": 40, "finetune_epochs": 20},
        "paper": {"model": "speech_cnn", "epochs": 300, "finetune_epochs": 150},
    },
}


@dataclass(frozen=True)
class Plan:
    """Every setting of one run.

    Attributes:
        load: options of ``rlap.load``.
        redraw: fresh noise at every access.
        attribution, covariance, cluster: of the partition.
        target, standardise: of the regression.
        roles: "right" or "swapped" retain and forget set, for ``RIVALS``.
        pruning: criterion -> (number of units, whether the bias goes too).
        mask: hold pruned units at zero.
        head_batchnorm: of L-FT, as ``finetune`` takes it.
        head_scope: of L-FT, as ``finetune`` takes it: "head" or "layer".
        monitor: what a plateau schedule follows: "test", "validation" or "none".
        retrain_batchnorm: of every retraining, as ``train`` takes it.
        recipes: arm -> ``Recipe``.
    """

    load: dict[str, object]
    redraw: bool
    attribution: str
    covariance: str
    cluster: str
    target: str
    standardise: bool
    roles: str
    pruning: dict[str, tuple[int, bool]]
    mask: bool
    head_batchnorm: str
    head_scope: str
    monitor: str
    retrain_batchnorm: str
    recipes: dict[str, Recipe] = field(default_factory=dict)


def plan(run: StudyParameters) -> Plan:
    """The settings of ``run`` (resolved) under its protocol."""
    protocol, speech = protocol_of(run.protocol), run.dataset == SPEECH
    eval_mode = speech and protocol.retrain_mode == "eval"
    return Plan(
        load=load_options(protocol, run.dataset),
        redraw=protocol.redraw and run.kind in INPUT_KINDS,
        attribution=protocol.attribution,
        covariance=protocol.covariance,
        cluster=protocol.cluster,
        # the released speech notebook looks the target up by sample, as it should
        target="sample" if speech else protocol.target,
        standardise=protocol.standardise,
        roles=protocol.roles,
        pruning=pruning(protocol, run.units),
        mask=protocol.mask,
        head_batchnorm=protocol.head_batchnorm,
        head_scope="layer" if speech and protocol.head == "first" else "head",
        monitor=protocol.monitor if speech else "none",
        retrain_batchnorm="first epoch" if eval_mode else "train",
        recipes=recipes(protocol, run),
    )


def load_options(protocol: Protocol, dataset: str) -> dict[str, object]:
    """Options of ``rlap.load`` beyond sizes and seed."""
    if dataset == SPEECH:
        return {"frames": protocol.frames, "split": protocol.split}
    return {}


def pruning(protocol: Protocol, units: int) -> dict[str, tuple[int, bool]]:
    """How many units each criterion prunes, and whether with their bias.

    As released, the rivals prune one unit less (39 and 40 of 256) but their bias too,
    so that their units stay dead without a mask, while the paper's own grow back.
    """
    own = (units, protocol.bias)
    rival = own if protocol.equal_pruning else (units - 1, True)
    return {
        "regression": own,
        **dict.fromkeys(RIVALS, rival),
        **dict.fromkeys(CONTROLS, own),
    }


def recipes(protocol: Protocol, run: StudyParameters) -> dict[str, Recipe]:
    """How every arm is trained."""
    epochs, tuning = run.epochs, run.finetune_epochs
    total = epochs + tuning
    images = run.dataset == CIFAR10
    augment = "crop+flip" if images and protocol.augment else "none"
    precision = "auto" if images else "fp32"  # raw MFCCs reach -877
    schedule = "cosine" if protocol.finetune_decay else "constant"
    tuned = {"epochs": tuning, "schedule": schedule, "precision": precision}

    def fresh(budget: int, decay: str | None = None, shuffle: bool = True) -> Recipe:
        base = image_recipe if images else speech_recipe
        recipe = base(budget, decay or (protocol.decay if images else protocol.monitor))
        return replace(recipe, augment=augment, shuffle=shuffle, precision=precision)

    decayed = fresh(total, "onecycle" if images else "none")
    retrain = fresh(total if protocol.retrain_epochs == "total" else epochs)
    return {
        "initial": fresh(epochs, shuffle=protocol.shuffle),
        "L-FT": replace(HEAD_RECIPE, **tuned),
        "F-FT": replace(FULL_RECIPE, augment=augment, **tuned),
        "retrain": retrain,
        "retrain short": fresh(tuning),
        "decayed": decayed,
    }


def image_recipe(epochs: int, decay: str) -> Recipe:
    """The paper's SGD; its milestones, 60, 120 and 160 of 200, as shares of the budget
    when they are to be felt at all."""
    recipe = Recipe(
        epochs=epochs,
        batch_size=64,
        optimizer="sgd",
        lr=0.1,
        momentum=0.9,
        nesterov=False,
        weight_decay=5e-4,
        schedule="constant",
    )
    if decay == "steps":
        milestones = tuple(max(1, round(epochs * share)) for share in (0.3, 0.6, 0.8))
        return replace(recipe, schedule="multistep", milestones=milestones, gamma=0.2)
    return replace(recipe, schedule="onecycle") if decay == "onecycle" else recipe


def speech_recipe(epochs: int, monitor: str) -> Recipe:
    """The paper's Adam with the rate halved on a plateau of accuracy; without anything
    to follow, a cosine from four times the rate."""
    recipe = Recipe(
        epochs=epochs,
        batch_size=64,
        optimizer="adam",
        lr=5e-4,
        weight_decay=0.0,
        schedule="constant",
    )
    if monitor == "none":
        return replace(recipe, lr=2e-3, schedule="cosine")
    return replace(recipe, schedule="plateau", gamma=0.5, patience=5)
