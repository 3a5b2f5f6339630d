"""Arms: the networks that one run compares, and how each is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rlap import models
from rlap.data import Split
from rlap.experiments.parameters import Cifar10Parameters, SpeechParameters
from rlap.experiments.records import code_digest
from rlap.experiments.study_parameters import StudyParameters
from rlap.files import paths
from rlap.finetuning import FULL_RECIPE, HEAD_RECIPE
from rlap.metrics import evaluate
from rlap.models import WHITENING
from rlap.training.loop import History, train
from rlap.training.recipe import Recipe

# how a fresh network is trained, by the name of the data set
FRESH = {
    "cifar10": Recipe(schedule="onecycle", augment="crop+flip"),
    "speech_commands": Recipe(
        batch_size=64,
        optimizer="adam",
        weight_decay=0.0,
        schedule="onecycle",
        precision="fp32",
    ),
}
# the released retrain of speech, to be had with batchnorm="first epoch" and the test
# set as monitor (audit 1.4, 36 and 38)
RELEASED_RETRAIN = Recipe(
    batch_size=64,
    optimizer="adam",
    lr=5e-4,
    weight_decay=0.0,
    schedule="plateau",
    gamma=0.5,
    patience=5,
    precision="fp32",
)


def recipes(run: Cifar10Parameters | SpeechParameters) -> dict[str, Recipe]:
    """The recipe of every arm under the controlled protocol.

    All shuffle and let the learning rate go to zero, and images are augmented; retrain
    and oracle get as many epochs as initial training and fine-tuning together. Only
    the head is tuned without augmentation: its features are computed once. Speech has
    the released retrain as well, which does otherwise.
    """
    initial = replace(FRESH[run.data_set], epochs=run.epochs, lr=run.lr)
    longer = replace(initial, epochs=run.epochs + run.finetune_epochs)
    tuned = {
        "epochs": run.finetune_epochs,
        "schedule": "cosine",
        "precision": initial.precision,
    }
    found = {
        "initial": initial,
        "L-FT": replace(HEAD_RECIPE, **tuned),
        "F-FT": replace(FULL_RECIPE, augment=initial.augment, **tuned),
        "retrain": longer,
        "oracle": longer,
    }
    if isinstance(run, SpeechParameters):
        found["retrain (released)"] = replace(
            RELEASED_RETRAIN, epochs=run.released_epochs
        )
    return found


def fit(
    run: Cifar10Parameters | SpeechParameters | StudyParameters,
    split: Split,
    recipe: Recipe,
    test: Split | None,
    device: torch.device | str,
    **options: Any,
) -> tuple[nn.Module, History]:
    """A fresh network, trained on ``split``; the same seed gives the same start.

    ``options`` go to ``train``: what it monitors, say.
    """
    # as the network will see them: of noise drawn at every access, ``split.inputs`` has
    # none, and whitened by clean images it would come out five times too large
    first = torch.arange(min(WHITENING, len(split)))
    seen = split.subset(first).to_tensors(seed=run.seed).inputs
    net = models.build(
        run.model,
        split.num_classes,
        seed=run.seed,
        in_channels=split.inputs.shape[1],
        width=getattr(run, "width", None),
        whiten=seen,
    ).to(device)
    options = {"checkpoint": shared_networks(), **options}
    return net, train(net, split, recipe, seed=run.seed, test=test, **options)


def shared_networks() -> Path | None:
    """The folder of what other runs of the same code have trained, if one is wanted.

    Runs of a sweep have much in common: most steps of a waterfall start from the same
    network. With ``RLAP_NETWORKS`` set, each is trained once.
    """
    return paths.networks_folder(code_digest())


class Arms(dict):
    """Name of an arm -> its scores, seconds and history."""

    def table(self):
        """A pandas table, one row an arm, in percent and seconds."""
        import pandas as pd

        columns = ("accuracy", "precision", "recall", "f1", "top3")
        rows = {
            name: {f"{c} %": round(100 * arm[c], 2) for c in columns}
            | {"samples": arm["samples"], "seconds": round(arm["seconds"], 2)}
            for name, arm in self.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index")


def compare(
    networks: Mapping[str, nn.Module],
    histories: Mapping[str, History],
    test: Split,
    *,
    precision: str = "fp32",
) -> Arms:
    """Evaluate every network on ``test``; an arm without a history cost no training."""
    arms = Arms()
    for name, network in networks.items():
        history = histories.get(name, History())
        arms[name] = {
            **evaluate(network, test, precision=precision).as_dict(),
            "samples": history.samples,
            "seconds": history.total_seconds,
            "history": asdict(history),
        }
    return arms
