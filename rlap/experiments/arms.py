"""Arms: the networks that one run compares, how each is trained, how all are judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rlap import models
from rlap.algorithm import Stopwatch
from rlap.data import Split
from rlap.experiments.checked import Parameters
from rlap.experiments.records import code_digest
from rlap.files import paths
from rlap.metrics import classification
from rlap.models import WHITENING
from rlap.training.inference import predict
from rlap.training.loop import History, train
from rlap.training.recipe import Recipe

PRECISION = "auto"  # of every final judgement, as of the training


def fit(
    run: Parameters,
    split: Split,
    recipe: Recipe,
    device: torch.device | str,
    *,
    seed: int | None = None,
    **options: Any,
) -> tuple[nn.Module, History]:
    """A fresh network of ``run``, trained on ``split``; the same seed (by default the
    run's) gives the same start. ``options`` go to ``train``: what it is tested on, say.
    """
    seed = run.seed if seed is None else seed
    # as the network will see them: of noise drawn at every access, ``split.inputs`` has
    # none, and whitened by clean images it would come out five times too large
    first = torch.arange(min(WHITENING, len(split)))
    net = models.build(
        run.model,
        split.num_classes,
        seed=seed,
        in_channels=split.inputs.shape[1],
        width=getattr(run, "width", None),
        whiten=split.subset(first).to_tensors(seed=seed).inputs,
    ).to(device)
    options = {"checkpoint": shared_networks(), **options}
    return net, train(net, split, recipe, seed=seed, **options)


def shared_networks() -> Path | None:
    """The folder of what other runs of the same code have trained, if one is wanted.

    Runs of a sweep have much in common: most steps of a waterfall start from the same
    network. With ``RLAP_NETWORKS`` set, each is trained once.
    """
    return paths.networks_folder(code_digest())


def count_resumed(watch: Stopwatch, arm: str, *histories: History) -> None:
    """Count what an arm took though another run has trained it, or a part of it."""
    if any(history.resumed for history in histories):
        watch[arm] = sum(h.total_seconds + sum(h.test_seconds) for h in histories)


class Arms(dict):
    """Name of an arm -> its scores, seconds and history."""

    def judge(
        self, arm: str, net: nn.Module, test: Split, history: History | None = None
    ) -> Tensor:
        """Score ``net`` on ``test``, and return its logits there (N, C); an arm without
        a history cost no training."""
        history = history or History()
        logits = predict(net, test.inputs, precision=PRECISION)
        self[arm] = {
            **classification(logits, test.labels).as_dict(),
            "samples": history.samples,
            "seconds": history.total_seconds,
            "history": asdict(history),
        }
        return logits

    def table(self) -> Any:
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
    networks: Mapping[str, nn.Module], histories: Mapping[str, History], test: Split
) -> Arms:
    """Every network judged on ``test``."""
    arms = Arms()
    for name, network in networks.items():
        arms.judge(name, network, test, histories.get(name))
    return arms
