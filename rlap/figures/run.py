"""Every plot of the companion. Each returns a matplotlib figure.

All of them carry a stamp below: tier, data, noise, seed and code, so that no picture
can pass for another run. Colours are safe for the usual colour blindness, and text and
lines are a mid grey on a transparent ground, so that they read in light and dark mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from rlap.data import Split
from rlap.partition import Partition
from rlap.training.loop import History

BLUE, ORANGE, GREEN, PURPLE = "#4a90d9", "#e08a2e", "#3aa57a", "#a06cc4"
GREY = "#7a7a7a"  # 4.3:1 on white, 4.4:1 on the dark ground
# eight lines are more than the colours alone can tell apart
LINES = {
    "color": [BLUE, ORANGE, GREEN, PURPLE, GREY, ORANGE, BLUE, GREEN],
    "linestyle": ["-", "-", "-", "-", "--", "--", "--", "--"],
}
STYLE = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "savefig.bbox": "tight",
    "savefig.dpi": 130,
    "figure.dpi": 110,
    "text.color": GREY,
    "axes.labelcolor": GREY,
    "axes.edgecolor": GREY,
    "axes.titlecolor": GREY,
    "axes.titlesize": 10,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "font.size": 9,
    "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREEN, PURPLE, GREY]),
}


@contextmanager
def drawing(stamp: str, *shape: int, **options: object) -> Iterator[tuple]:
    """A styled figure and its axes; the stamp is written below it at the end."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(*shape, layout="constrained", **options)
        yield figure, axes
        if stamp:  # the book says it in words below its pictures
            figure.supxlabel(stamp, fontsize=7, color=GREY, x=0.01, ha="left")
    plt.close(figure)  # shown once, by returning it from a cell


def stamp_of(record: Mapping) -> str:
    """What stands under a figure: tier, data, noise, seed and code of a record, and on
    a line of its own what has to be said about the data."""
    noise = record["noise"]
    level = "" if noise["level"] is None else f", level {noise['level']:g}"
    if level and noise["kind"] == "gaussian_waveform":
        level = f", {noise['level']:g} dB"
    return stamped(record, f"{noise['kind']} rate {noise['rate']:g}{level}")


def stamped(record: Mapping, *also: str) -> str:
    """A stamp that says ``also`` between the data and the seed."""
    data = record["data"]
    words = [
        f"{record['tier']} tier",
        f"{data['name']}, {data['n_train']:,} samples",
        *also,
        f"seed {record['seed']}",
        f"code {record['identity']['code'][:8]}",
    ]
    if data["stand_in"]:
        words.insert(0, "STAND-IN DATA")
    banner = data.get("banner")
    return " · ".join(words) + (f"\n{banner}" if banner else "")


def examples(
    clean: Split,
    noisy: Split,
    is_corrupted: Tensor,
    classes: Sequence[str],
    stamp: str,
    count: int = 8,
) -> Figure:
    """Corrupted images above what they were, with given and true labels."""
    index = is_corrupted.nonzero().flatten()[:count]
    options = {"figsize": (1.1 * count, 2.9), "squeeze": False}
    with drawing(stamp, 2, len(index), **options) as (figure, axes):
        for column, i in enumerate(index.tolist()):
            rows = ((noisy, "corrupted"), (clean, "original"))
            for ax, (split, name) in zip(axes[:, column], rows, strict=True):
                ax.imshow(as_pixels(split, i), interpolation="nearest")
                ax.set(xticks=[], yticks=[])
                ax.set_title(classes[int(split.labels[i])], fontsize=8)
                if column == 0:
                    ax.set_ylabel(name)
        return figure


def as_pixels(split: Split, i: int) -> np.ndarray:
    """One image (H, W, C) as pixels in [0, 1]."""
    image = split.inputs[i : i + 1]
    if split.normalisation is not None:
        image = split.normalisation.undo(image)
    return image[0].clamp(0, 1).permute(1, 2, 0).cpu().numpy()


def training_curves(histories: Mapping[str, History], stamp: str) -> Figure:
    """Training loss and test accuracy by epoch, one line an arm."""
    with drawing(stamp, 1, 2, figsize=(8, 3)) as (figure, (left, right)):
        for ax in (left, right):
            ax.set_prop_cycle(**LINES)
        for name, history in histories.items():
            epochs = range(1, len(history.loss) + 1)
            left.plot(epochs, history.loss, label=name)
            if history.test_accuracy:
                right.plot(epochs, history.test_accuracy, label=name)
        left.set(xlabel="epoch", ylabel="training loss")
        right.set(xlabel="epoch", ylabel="accuracy on the clean test set")
        # beside the lines, which fill the panel
        right.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        return figure


def posterior_histogram(parts: Partition, truth: Tensor, stamp: str) -> Figure:
    """Posterior of being good, for clean and for corrupted samples."""
    p, corrupted = parts.posterior.cpu().numpy(), truth.cpu().numpy()
    with drawing(stamp, figsize=(6, 2.8)) as (figure, ax):
        bins = np.linspace(0, 1, 26)
        shown = [p[~corrupted], p[corrupted]]
        ax.hist(shown, bins, color=[BLUE, ORANGE], label=["clean", "corrupted"])
        ax.set(xlabel="posterior of being high quality", ylabel="training samples")
        ax.legend()
        return figure


def projection(
    scores: Tensor, parts: Partition, truth: Tensor, stamp: str, most: int = 2000
) -> Figure:
    """Two principal components of the standardised scores, coloured by the truth and
    by what the partition made of them."""
    from sklearn.decomposition import PCA  # here: it takes seconds to import

    x = scores.double().cpu().numpy()
    spread = x.std(0)
    x = (x - x.mean(0))[:, spread > 0] / spread[spread > 0]
    plane = PCA(2, random_state=0).fit_transform(x)[:most]
    with drawing(stamp, 1, 2, figsize=(8, 3.4), sharey=True) as (figure, axes):
        panels = (
            (axes[0], truth, "the truth", ("clean", "corrupted")),
            (axes[1], parts.low_quality, "the partition", ("high", "low quality")),
        )
        for ax, bad, title, names in panels:
            bad = bad.cpu().numpy()[:most]
            for chosen, colour, name in (
                (~bad, BLUE, names[0]),
                (bad, ORANGE, names[1]),
            ):
                ax.scatter(
                    *plane[chosen].T,
                    s=4,
                    alpha=0.5,
                    color=colour,
                    label=name,
                    rasterized=True,
                )  # thousands of dots
            ax.set(title=title, xlabel="first principal component")
            ax.legend(fontsize=8, markerscale=2)
        axes[0].set_ylabel("second")
        # a few outliers would otherwise press everything into one corner
        axes[0].set_ylim(*limits(plane[:, 1]))
        for ax in axes:
            ax.set_xlim(*limits(plane[:, 0]))
        return figure


def limits(values: np.ndarray) -> tuple[float, float]:
    """Axis limits that hold 99 % of the values, with a margin."""
    low, high = np.quantile(values, [0.005, 0.995])
    margin = 0.1 * (high - low or 1.0)
    return low - margin, high + margin


def confusion(
    parts: Partition,
    truth: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    stamp: str,
) -> Figure:
    """The split against the truth, and the share kept of each class: a partition that
    follows the classes instead of the noise shows in the right panel."""
    kept, bad = parts.high_quality.cpu(), truth.cpu()
    table = np.array(
        [[int((kept & ~bad).sum()), int((~kept & ~bad).sum())],
         [int((kept & bad).sum()), int((~kept & bad).sum())]]
    )  # fmt: skip
    share = table / table.sum(1, keepdims=True).clip(1)
    options = {"figsize": (8, 3), "width_ratios": (1, 2)}
    with drawing(stamp, 1, 2, **options) as (figure, (left, right)):
        left.imshow(share, cmap="Blues", vmin=0, vmax=1.4)
        for (row, column), count in np.ndenumerate(table):
            text = f"{count:,}\n{share[row, column]:.0%}"
            left.text(column, row, text, ha="center", va="center", color="black")
        left.set_xticks([0, 1], ["high", "low"])
        left.set_yticks([0, 1], ["clean", "corrupted"])
        left.set_xlabel("partition")
        labels = labels.cpu()
        for offset, side, colour, name in (
            (-0.2, ~bad, BLUE, "clean"),
            (0.2, bad, ORANGE, "corrupted"),
        ):
            rates = [
                kept[side & (labels == c)].float().mean().item()
                for c in range(len(classes))
            ]
            right.bar(np.arange(len(classes)) + offset, rates, 0.4, color=colour,
                      label=name)  # fmt: skip
        right.set_xticks(range(len(classes)), classes, rotation=35, ha="right")
        right.set(ylabel="share called high quality", ylim=(0, 1.05))
        right.legend(fontsize=8, ncols=2, loc="upper left", bbox_to_anchor=(0, 1.18))
        return figure


def roc(
    scores: Mapping[str, tuple[Tensor, float]], truth: Tensor, stamp: str
) -> Figure:
    """ROC curves of several scores (higher means more suspect) with their AUROC."""
    from sklearn.metrics import roc_curve

    with drawing(stamp, figsize=(7, 3.8)) as (figure, ax):
        ax.set_prop_cycle(**LINES)
        for name, (score, area) in scores.items():
            fpr, tpr, _ = roc_curve(truth.cpu().numpy(), score.double().cpu().numpy())
            ax.plot(fpr, tpr, label=f"{name} ({area:.3f})")
        ax.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=":")
        ax.set(xlabel="clean samples suspected", ylabel="corrupted samples found")
        ax.set_box_aspect(1)
        # beside the curves: any corner may hold some
        ax.legend(fontsize=8, title="score (AUROC)", title_fontsize=8,
                  loc="upper left", bbox_to_anchor=(1, 1))  # fmt: skip
        return figure


def chosen_units(
    activations: Tensor, truth: Tensor, scores: Tensor, units: Tensor, stamp: str
) -> Figure:
    """Sensitivity of every unit, sorted; and mean pre-activations on clean and on
    corrupted samples, with the pruned units marked."""
    pruned = torch.zeros(len(scores), dtype=torch.bool)
    pruned[units.cpu()] = True
    values, pruned = scores.double().cpu().numpy(), pruned.numpy()
    order = np.argsort(-values)
    truth = truth.to(activations.device)
    clean = activations[~truth].mean(0).cpu().numpy()
    bad = activations[truth].mean(0).cpu().numpy()
    with drawing(stamp, 1, 2, figsize=(8, 3.2)) as (figure, (left, right)):
        colours = np.where(pruned[order], ORANGE, BLUE)
        left.bar(range(len(values)), values[order], 1.0, color=colours)
        left.set(xlabel="unit, by rank", ylabel="sensitivity")
        for chosen, colour, name in (
            (~pruned, BLUE, "kept"),
            (pruned, ORANGE, "pruned"),
        ):
            right.scatter(clean[chosen], bad[chosen], s=10, color=colour, label=name)
        right.axline((0, 0), slope=1, color=GREY, lw=0.8, ls=":")
        right.set(xlabel="mean pre-activation, clean", ylabel="corrupted")
        right.legend(fontsize=8)
        return figure


def attributions(values: Mapping[str, tuple[float, float]], stamp: str) -> Figure:
    """Area under the ROC curve of each attribution's partition, with the seconds that
    the attribution took: name -> (area, seconds)."""
    with drawing(stamp, figsize=(6.4, 0.36 * len(values) + 1.2)) as (figure, ax):
        ax.plot([area for area, _ in values.values()], list(values), "o", color=BLUE)
        for name, (_, seconds) in values.items():
            place = {"xycoords": ("axes fraction", "data"), "va": "center"}
            ax.annotate(f"{seconds:.2g} s", (1.01, name), **place)
        ax.axvline(0.5, color=GREY, lw=0.8, ls=":")
        ax.set(xlabel="area under the ROC curve (dotted: chance)", xlim=(0, 1.02))
        ax.set_ylim(len(values) - 0.5, -0.5)
        return figure


def arms(
    values: Mapping[str, Sequence[float]], stamp: str, *, guess: float | None = None
) -> Figure:
    """Accuracy of each arm, a dot a run; a bar marks the mean of several, a dotted line
    what guessing gives."""
    names = list(values)
    with drawing(stamp, figsize=(6.4, 0.36 * len(names) + 1.2)) as (figure, ax):
        for row, name in enumerate(names):
            mean = float(np.mean(values[name]))
            ax.plot(values[name], [row] * len(values[name]), "o", ms=5, color=BLUE,
                    alpha=0.8)  # fmt: skip
            if len(values[name]) > 1:
                ax.plot([mean, mean], [row - 0.3, row + 0.3], color=ORANGE, lw=2)
            ax.annotate(
                f"{mean:.3f}",
                (1.01, row),
                xycoords=("axes fraction", "data"),
                va="center",
            )
        ax.set_yticks(range(len(names)), names)
        if guess is not None:
            ax.axvline(guess, color=GREY, lw=0.8, ls=":")
        ax.set(xlabel="accuracy on the clean test set", ylim=(len(names) - 0.5, -0.5))
        ax.grid(axis="x", color=GREY, alpha=0.25)
        return figure


def stage_seconds(seconds: Mapping[str, float], stamp: str) -> Figure:
    """Where the time went, a bar a stage."""
    names = list(seconds)
    with drawing(stamp, figsize=(6.4, 0.3 * len(names) + 1.2)) as (figure, ax):
        bars = ax.barh(names, [seconds[name] for name in names], color=BLUE)
        ax.bar_label(bars, fmt="%.2f s", padding=3, color=GREY, fontsize=8)
        ax.invert_yaxis()
        ax.set_xlabel("seconds")
        ax.margins(x=0.15)
        return figure
