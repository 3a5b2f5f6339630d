"""Arms: the networks that one run compares, and how each is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

import torch
from torch import nn

from rlap import models
from rlap.data import Split
from rlap.experiments.parameters import Cifar10Parameters
from rlap.finetuning import FULL_RECIPE, HEAD_RECIPE
from rlap.metrics import evaluate
from rlap.recipe import Recipe
from rlap.training import History, train


def recipes(run: Cifar10Parameters) -> dict[str, Recipe]:
    """The recipe of every arm under the controlled protocol.

    All shuffle, augment and let the learning rate go to zero; retrain and oracle get as
    many epochs as initial training and fine-tuning together. Only the head is tuned
    without augmentation: its features are computed once.
    """
    initial = Recipe(
        epochs=run.epochs,
        lr=run.lr,
        schedule="onecycle",
        augment="crop+flip",
    )
    longer = replace(initial, epochs=run.epochs + run.finetune_epochs)
    tuned = {"epochs": run.finetune_epochs, "schedule": "cosine"}
    return {
        "initial": initial,
        "L-FT": replace(HEAD_RECIPE, **tuned),
        "F-FT": replace(FULL_RECIPE, augment="crop+flip", **tuned),
        "retrain": longer,
        "oracle": longer,
    }


def fit(
    run: Cifar10Parameters,
    split: Split,
    recipe: Recipe,
    test: Split | None,
    device: torch.device | str,
) -> tuple[nn.Module, History]:
    """A fresh network, trained on ``split``; the same seed gives the same start."""
    net = models.build(
        run.model,
        split.num_classes,
        seed=run.seed,
        in_channels=split.inputs.shape[1],
        width=run.width,
        whiten=split.inputs,
    ).to(device)
    return net, train(net, split, recipe, seed=run.seed, test=test)


class Arms(dict):
    """Name of an arm -> its scores, seconds and history."""

    def table(self):
        """A pandas table, one row an arm, in percent and seconds."""
        import pandas as pd

        columns = ("accuracy", "precision", "recall", "f1", "top3")
        rows = {
            name: {f"{c} %": round(100 * arm[c], 2) for c in columns}
            | {"images": arm["samples"], "seconds": round(arm["seconds"], 2)}
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
