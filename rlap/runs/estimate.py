"""What runs will cost, from what similar runs have cost, or a few steps timed now."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from rlap import models
from rlap.data import Split
from rlap.experiments import records
from rlap.runs.grid import Job
from rlap.runs.state import resolved
from rlap.training.loop import train
from rlap.training.recipe import Recipe

# what has to agree before one run's seconds say anything about another's
ALIKE = ("dataset", "model", "width", "arms", "methods")
# Passes of the whole training set, as (of the initial epochs, of those of fine-tuning):
# what keeps only part of the data counts half. Notebook 01 trains initial, retrain,
# oracle, F-FT and continue; "all" arms are about a dozen fine-tunings and six retrains.
PASSES = {None: (2.0, 2.5), "main": (1.5, 2.0), "criteria": (1.5, 7.5)}
PASSES |= {"decayed": (3.0, 3.5), "decayed+criteria": (3.0, 9.0), "all": (3.5, 12.0)}
PASSES |= {"rivals": (4.0, 4.5)}
# Forgetting a class trains three networks (with OSP six), and its examiner takes as
# long as several more, whatever the epochs of the methods that train.
PASSES |= {"one_shot": (5.5, 0.0), "trained": (10.5, 0.0), "osp": (8.0, 0.0)}
# where a run takes all: the training clips of the archive of 3,953, about
CLIPS = 3_200
# seconds of every run: the kernel's start, imports, data and pictures (11 to 38 in the
# records, by notebook)
START_UP = 15.0


@dataclass(frozen=True)
class Cost:
    """Seconds that a run may take, the range seen, and where they come from."""

    seconds: float
    low: float
    high: float
    basis: str


def work(parameters: Mapping[str, object]) -> float:
    """Samples that a run trains on, over all its epochs and arms (a rough count)."""
    kind = parameters.get("arms") or parameters.get("methods")
    kind = "osp" if "strength" in parameters else kind
    before, after = PASSES.get(kind, PASSES[None])
    epochs = before * (parameters.get("epochs") or 1)
    epochs += after * (parameters.get("finetune_epochs") or 0)
    return epochs * (parameters.get("train_size") or CLIPS)


class Costs:
    """Estimates from the records under a folder, nearest first."""

    def __init__(self, results: Path) -> None:
        device = records.environment()["device"]
        self.past: list[tuple[str, dict, float]] = []
        for path in sorted(results.rglob(records.FILE)):
            try:
                record = records.read(path)
                where, asked = record["provenance"], record["parameters"]
                seconds = where.get("wall_seconds")
                seconds = seconds or START_UP + sum(record["seconds"].values())
                here = where["environment"]["device"] == device
                if here and min(seconds, work(asked)) > 0:
                    self.past.append((record["notebook"], asked, seconds))
            except (records.RecordError, KeyError, AttributeError, TypeError):
                continue  # not worth stopping for: the ledger will tell

    def of(self, job: Job) -> Cost:
        """What ``job`` may take: as other seeds did, else scaled, else timed now."""
        asked = resolved(job.parameters).identity()
        alike = [
            (then, seconds)
            for notebook, then, seconds in self.past
            if notebook == job.notebook.stem
            and all(then.get(k) == asked.get(k) for k in ALIKE)
        ]
        same = [s for then, s in alike if without_seed(then) == without_seed(asked)]
        if same:
            return spread(same, f"{len(same)} run(s) of the same setting")
        if alike:
            scaled = [
                START_UP + max(0.0, s - START_UP) * work(asked) / work(then)
                for then, s in alike
            ]
            return spread(scaled, f"{len(scaled)} similar run(s), by epochs and size")
        network = asked.get("model"), asked.get("width")
        speech = job.notebook.stem == "02_speech"
        speech = speech or asked.get("dataset") == "speech_commands"
        seconds = work(asked) * seconds_a_sample(*network, speech)
        # attribution, evaluation and load are not in it: hence the wide range
        return Cost(
            START_UP + seconds,
            START_UP + seconds / 2,
            START_UP + 2 * seconds,
            "a few training steps timed now (no run is near), as if cores were free",
        )


def without_seed(parameters: Mapping[str, object]) -> dict[str, object]:
    """All but the seed."""
    return {k: v for k, v in parameters.items() if k != "seed"}


def spread(seconds: list[float], basis: str) -> Cost:
    """Median and range of what was seen."""
    return Cost(statistics.median(seconds), min(seconds), max(seconds), basis)


@cache
def seconds_a_sample(model: str | None, width: int | None, speech: bool) -> float:
    """Seconds of training on one sample, from a few batches on this machine."""
    shape = (1, 40, 32) if speech else (3, 32, 32)
    inputs = torch.randn(256, *shape, generator=torch.Generator().manual_seed(0))
    split = Split(inputs, torch.arange(256) % 10)
    name = model or ("speech_cnn" if speech else "small")
    net = models.build(
        name, 10, seed=0, in_channels=shape[0], width=width, whiten=inputs
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train(net, split, Recipe(epochs=1), device=device)  # warm
        started = time.perf_counter()
        train(net, split, Recipe(epochs=2), device=device)
        return (time.perf_counter() - started) / (2 * len(split))
    finally:
        torch.set_num_threads(threads)


def told(costs: Sequence[Cost], workers: int) -> list[str]:
    """What so many runs will cost on so many workers, and how that is known."""
    low, middle, high = (
        words(sum(getattr(cost, k) for cost in costs) / workers)
        for k in ("low", "seconds", "high")
    )
    lines = [f"{len(costs)} to run: about {middle} with -j {workers} ({low} to {high})"]
    for basis, n in Counter(cost.basis for cost in costs).items():
        lines.append(f"  {n} estimated from {basis}")
    return lines


def words(seconds: float) -> str:
    """A duration to two figures: "40 s", "5.2 min", "3.1 h"."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            value = seconds / length
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{seconds:.0f} s"
