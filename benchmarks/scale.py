"""Time and memory of each stage against the number of samples and of units.

    python benchmarks/scale.py [--samples 3125 12500 50000 200000]
        [--units 64 256 1024 2048] [--at 12500 256] [--json FILE] [--figure FILE]

Synthetic features of two groups go through a head of d units. Samples vary at 256
units, units at 12,500 samples. Each point has a process of its own, so that the peak of
its memory is its own; of each stage the table gives the seconds, and the peak beyond
what was there before it, its result included. Exponents are fitted on a log-log scale.
The mixture takes five steps from k-means, the head one epoch.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np

INPUTS = 512  # features that enter the head
STEPS = 5  # of the mixture
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
IMAGENET = 1_281_167, 2048, 60  # samples, units, and steps of the mixture in all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    many, wide = [3125, 12_500, 50_000, 200_000], [64, 256, 1024, 2048]
    parser.add_argument("--samples", type=int, nargs="+", default=many)
    parser.add_argument("--units", type=int, nargs="+", default=wide)
    parser.add_argument("--at", type=int, nargs=2, default=(12_500, 256))
    parser.add_argument("--json", type=Path, help="write all numbers there")
    parser.add_argument("--figure", type=Path, help="draw them there")
    parser.add_argument("--point", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        print(json.dumps(point(*options.point)))
        return
    sweeps = {
        "samples": [(n, options.at[1]) for n in options.samples],
        "units": [(options.at[0], d) for d in options.units],
    }
    found = {name: sweep(name, points) for name, points in sweeps.items()}
    on_paper(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    if options.figure:
        options.figure.parent.mkdir(parents=True, exist_ok=True)
        draw(found, options.figure)


def sweep(name: str, points: list[tuple[int, int]]) -> dict:
    """Measure every point, print the table, and fit the exponents."""
    sizes = [n if name == "samples" else d for n, d in points]
    columns = "".join(f"{size:>15,}" for size in sizes)
    print(f"\n{'seconds, MB by ' + name:<22}{columns}{'exponents':>15}")
    measured = [alone(*at) for at in points]
    told = {}
    for stage in measured[0]:
        seconds, peaks = zip(*(m[stage] for m in measured), strict=True)
        fits = exponent(sizes, seconds), exponent(sizes, peaks)
        cells = (f"{s:9.3f}{p:6.0f}" for s, p in zip(seconds, peaks, strict=True))
        print(f"{stage:<22}{''.join(cells)}{fits[0]:>9.2f}{fits[1]:>6.2f}", flush=True)
        told[stage] = {"seconds": seconds, "megabytes": peaks, "exponents": fits}
    return {"sizes": sizes, "points": points, "stages": told}


def exponent(sizes: list[int], values: tuple[float, ...]) -> float:
    """The slope of log value against log size; nan for fewer than two sizes."""
    if len(sizes) < 2:
        return float("nan")
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-6)), 1)[0])


def alone(n: int, d: int) -> dict[str, tuple[float, float]]:
    """``point`` in a process that gives freed memory back at once."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    words = [sys.executable, "-W", "ignore", __file__, "--point", str(n), str(d)]
    done = subprocess.run(words, env=keep, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def point(n: int, d: int) -> dict[str, tuple[float, float]]:
    """Seconds and peak megabytes of each stage, for n samples and d units."""
    import torch
    from torch import nn

    import rlap

    warnings.simplefilter("ignore")
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(n, INPUTS, generator=generator)
    features[: n // 2] *= 0.5
    labels = torch.randint(0, 10, (n,), generator=generator)
    split = rlap.Split(features, labels)
    torch.manual_seed(0)
    head = nn.Sequential(nn.Linear(INPUTS, d), nn.ReLU(), nn.Linear(d, 10)).eval()
    kept: dict[str, torch.Tensor] = {}

    def attribution() -> None:
        kept["scores"] = rlap.attribute(head, features, layer="0")

    def mixture() -> None:
        rlap.partition(kept["scores"], max_iter=STEPS)

    def sensitivity() -> None:
        rlap.sensitivity(kept["scores"], torch.arange(n) < n // 2)

    def tuning(split: rlap.Split = split) -> None:
        recipe = rlap.Recipe(epochs=1, batch_size=64, optimizer="adam", lr=1e-3)
        rlap.finetune(head, split, layer="0", recipe=recipe)

    stages = {"attribution": attribution, f"mixture, {STEPS} steps": mixture}
    stages |= {"sensitivity": sensitivity, "head, one epoch": tuning}
    # what is loaded at the first use is no cost of the stage
    rlap.partition(features[:200, :4])
    tuning(split.subset(range(64)))
    return {name: measure(stage) for name, stage in stages.items()}


def measure(stage) -> tuple[float, float]:
    """Seconds, and the peak of the memory beyond what was there before, in MB."""
    if RESET.exists():
        RESET.write_text("5")  # the peak so far is forgotten
    before, began = memory("VmRSS"), time.perf_counter()
    stage()
    seconds = time.perf_counter() - began
    return seconds, max(0.0, memory("VmHWM") - before)


def memory(kind: str) -> float:
    """Resident megabytes now (VmRSS) or at most (VmHWM); nan where nobody tells."""
    if not STATUS.exists():
        return float("nan")
    lines = STATUS.read_text().splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith(kind)) / 1024


def on_paper(found: dict) -> None:
    """What ImageNet-1k would cost with 2,048 units, from the widest point."""
    n, d, steps = IMAGENET
    (samples, units), last = found["units"]["points"][-1], -1
    told = found["units"]["stages"]
    each = told[f"mixture, {STEPS} steps"]["seconds"][last] / samples / STEPS
    hours = each * n * steps * (d / units) ** 2 / 3600
    epoch = told["head, one epoch"]["seconds"][last] / samples * n * d / units / 60
    print(f"\nImageNet-1k on this machine, on paper: {n:,} x {d:,} scores are "
          f"{4 * n * d / 1e9:.1f} GB; the mixture takes {hours:.1f} hours for {steps} "
          f"steps, an epoch of the head {epoch:.0f} minutes")  # fmt: skip


def draw(found: dict, file: Path) -> None:
    """Seconds and megabytes against samples and against units, log-log."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(9, 6), sharex="col", sharey="row")
    for column, (name, told) in enumerate(found.items()):
        for line, kind in enumerate(("seconds", "megabytes")):
            axis = axes[line, column]
            for stage, values in told["stages"].items():
                slope = values["exponents"][line]
                axis.loglog(
                    told["sizes"], values[kind], "o-", label=f"{stage}: {slope:.2f}"
                )
            axis.legend(title="exponent", fontsize=7)
            axis.set_ylabel(kind)
        axes[1, column].set_xlabel(name)
    figure.tight_layout()
    figure.savefig(file)


if __name__ == "__main__":
    main()
