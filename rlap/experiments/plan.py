"""What a protocol means for one run: every setting of every stage, spelled out.

``plan`` is the only place that reads the fields of a ``Protocol``; a run does what the
plan says. So a test can show for each field what it changes, and that it changes
nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import nn

from rlap.corruption.corrupted import INPUT_KINDS
from rlap.experiments import released
from rlap.experiments.parameters import StudyParameters
from rlap.experiments.protocol import CIFAR10, SPEECH, Protocol, protocol_of
from rlap.finetuning import FULL_RECIPE, HEAD_RECIPE
from rlap.training.recipe import Recipe

RIVALS = ("abs", "rms", "freq", "std")
CONTROLS = ("random", "magnitude")
# of the mixture, as released. It needs no field: every fit that is recorded had
# converged before
MAX_ITER = 100

Hook = Callable[[nn.Module, int], None] | None  # ``on_epoch`` of ``train``


@dataclass(frozen=True)
class Plan:
    """Every setting of one run.

    Attributes:
        load: options of ``rlap.load``.
        redraw: fresh noise at every access.
        attribution, covariance, start, max_iter, cluster: of the partition.
        target, standardise: of the regression.
        roles: "right" or "swapped" retain and forget set, for ``RIVALS``.
        pruning: criterion -> (number of units, whether the bias goes too).
        mask: hold pruned units at zero.
        tuning: "L-FT" and "F-FT" -> scope and ``on_epoch`` of ``finetune``.
        retraining: ``on_epoch`` of every retraining.
        monitor: what a plateau schedule follows: "test", "validation" or "none".
        recipes: arm -> ``Recipe``.
    """

    load: dict[str, object]
    redraw: bool
    attribution: str
    covariance: str
    start: str
    max_iter: int
    cluster: str
    target: str
    standardise: bool
    roles: str
    pruning: dict[str, tuple[int, bool]]
    mask: bool
    tuning: dict[str, tuple[str, Hook]]
    retraining: Hook
    monitor: str
    recipes: dict[str, Recipe]


def plan(run: StudyParameters) -> Plan:
    """The settings of ``run`` (resolved) under its protocol."""
    protocol, speech = protocol_of(run.protocol), run.dataset == SPEECH
    eval_mode = speech and protocol.retrain_mode == "eval"
    moving = protocol.head_batchnorm == "update"
    head = "layer" if speech and protocol.head == "first" else "head"
    return Plan(
        load=run.data_options,
        redraw=protocol.redraw and run.kind in INPUT_KINDS,
        attribution=protocol.attribution,
        covariance=protocol.covariance,
        start=protocol.start,
        max_iter=MAX_ITER,
        cluster=protocol.cluster,
        # the released speech notebook looks the target up by sample, as it should
        target="sample" if speech else protocol.target,
        standardise=protocol.standardise,
        roles=protocol.roles,
        pruning=pruning(protocol, run.units),
        mask=protocol.mask,
        tuning={
            "L-FT": (head, released.moving_statistics if moving else None),
            "F-FT": ("full", None),
        },
        retraining=released.eval_after_first if eval_mode else None,
        monitor=protocol.monitor if speech else "none",
        recipes=recipes(protocol, run),
    )


def pruning(protocol: Protocol, units: int) -> dict[str, tuple[int, bool]]:
    """How many units each criterion prunes, and whether with their bias."""
    own = (units, protocol.bias)
    rival = own if protocol.equal_pruning else released.rival_pruning(units)
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
        "generalized": replace(decayed, loss="generalized"),
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
