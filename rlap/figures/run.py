"""Every plot of the companion. Each returns a matplotlib figure.

All of them carry a stamp below: tier, data, noise, seed and code, so that no picture
can pass for another run. Colours are safe for the usual colour blindness, and text and
lines are a mid grey on a transparent ground, so that they read in light and dark mode.
No figure is wider than ``WIDTH`` and no letter smaller than ``SMALL``, so that both fit
a phone: panels stand below one another, and legends above them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from rlap.data import Split
from rlap.figures.said import said
from rlap.partition import Partition
from rlap.training.loop import History

BLUE, ORANGE, GREEN, PURPLE = "#4a90d9", "#e08a2e", "#3aa57a", "#a06cc4"
GREY = "#7a7a7a"  # 4.3:1 on white, 4.4:1 on the dark ground
WIDTH = 4.6  # inches: 340 points with the margin, and as many pixels on a phone
SMALL = 8.5  # points, of the smallest letters
STAMPED = 58  # letters of a line of the stamp
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
    "axes.titlesize": 9.5,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.frameon": False,
    "legend.fontsize": SMALL,
    "legend.title_fontsize": SMALL,
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
            told = "\n".join(map(in_lines, stamp.split("\n")))
            figure.supxlabel(told, fontsize=SMALL, color=GREY, x=0.01, ha="left")
            figure.set_figheight(figure.get_figheight() + 0.15 * told.count("\n"))
    plt.close(figure)  # shown once, by returning it from a cell


def in_lines(text: str) -> str:
    """A line of a stamp in lines of ``STAMPED`` letters, none of which begins with its
    dot."""
    return fill(text.replace(" · ", "\u00a0· "), STAMPED).replace("\u00a0", " ")


def legend_above(figure: Figure, ax: Axes, columns: int = 2, **options: object) -> None:
    """What the lines, dots and bars of ``ax`` mean, above all panels."""
    place = {"loc": "outside upper left", "ncols": columns}
    figure.legend(*ax.get_legend_handles_labels(), **place, **options)


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
    count: int = 5,
) -> Figure:
    """Corrupted images above what they were, with given and true labels."""
    index = is_corrupted.nonzero().flatten()[:count]
    options = {"figsize": (WIDTH, 2.5), "squeeze": False}
    with drawing(stamp, 2, len(index), **options) as (figure, axes):
        for column, i in enumerate(index.tolist()):
            rows = ((noisy, "corrupted"), (clean, "original"))
            for ax, (split, name) in zip(axes[:, column], rows, strict=True):
                ax.imshow(as_pixels(split, i), interpolation="nearest")
                ax.set(xticks=[], yticks=[])
                ax.set_title(classes[int(split.labels[i])], fontsize=SMALL)
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
    size = {"figsize": (WIDTH, 5), "sharex": True}
    with drawing(stamp, 2, 1, **size) as (figure, (above, below)):
        for ax in (above, below):
            ax.set_prop_cycle(**LINES)
        for name, history in histories.items():
            epochs = range(1, len(history.loss) + 1)
            above.plot(epochs, history.loss, label=said(name))
            if history.test_accuracy:
                below.plot(epochs, history.test_accuracy, label=said(name))
        above.set(ylabel="training loss")
        below.set(xlabel="epoch", ylabel="accuracy, clean test set")
        legend_above(figure, above, 3)
        return figure


def posterior_histogram(parts: Partition, truth: Tensor, stamp: str) -> Figure:
    """Posterior of being good, for clean and for corrupted samples."""
    p, corrupted = parts.posterior.cpu().numpy(), truth.cpu().numpy()
    with drawing(stamp, figsize=(WIDTH, 2.6)) as (figure, ax):
        bins = np.linspace(0, 1, 26)
        shown = [p[~corrupted], p[corrupted]]
        ax.hist(shown, bins, color=[BLUE, ORANGE], label=["clean", "corrupted"])
        ax.set(xlabel="posterior of being high quality", ylabel="training samples")
        legend_above(figure, ax)
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
    with drawing(stamp, 1, 2, figsize=(WIDTH, 2.9), sharey=True) as (figure, axes):
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
            ax.set_xlabel("first principal component")
            ax.set_title(title, pad=18)
            ax.legend(markerscale=2, handletextpad=0.1, columnspacing=0.8, ncols=2,
                      loc="lower center", bbox_to_anchor=(0.5, 0.97))  # fmt: skip
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
    follows the classes instead of the noise shows in the lower panel."""
    kept, bad = parts.high_quality.cpu(), truth.cpu()
    table = np.array(
        [[int((kept & ~bad).sum()), int((~kept & ~bad).sum())],
         [int((kept & bad).sum()), int((~kept & bad).sum())]]
    )  # fmt: skip
    share = table / table.sum(1, keepdims=True).clip(1)
    options = {"figsize": (WIDTH, 4.4), "height_ratios": (2, 3)}
    with drawing(stamp, 2, 1, **options) as (figure, (above, below)):
        above.imshow(share, cmap="Blues", vmin=0, vmax=1.4, aspect="auto")
        for (row, column), count in np.ndenumerate(table):
            text = f"{count:,}\n{share[row, column]:.0%}"
            above.text(column, row, text, ha="center", va="center", color="black")
        above.set_xticks([0, 1], ["called high quality", "called low quality"])
        above.set_yticks([0, 1], ["clean", "corrupted"])
        labels = labels.cpu()
        for offset, side, colour, name in (
            (-0.2, ~bad, BLUE, "clean"),
            (0.2, bad, ORANGE, "corrupted"),
        ):
            rates = [
                kept[side & (labels == c)].float().mean().item()
                for c in range(len(classes))
            ]
            below.bar(np.arange(len(classes)) + offset, rates, 0.4, color=colour,
                      label=name)  # fmt: skip
        below.set_xticks(range(len(classes)), classes, rotation=35, ha="right")
        below.set(ylabel="share called high quality", ylim=(0, 1.05))
        below.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
        return figure


def roc(
    scores: Mapping[str, tuple[Tensor, float]], truth: Tensor, stamp: str
) -> Figure:
    """ROC curves of several scores (higher means more suspect) with their AUROC."""
    from sklearn.metrics import roc_curve

    with drawing(stamp, figsize=(WIDTH, 4.5 + 0.17 * len(scores))) as (figure, ax):
        ax.set_prop_cycle(**LINES)
        for name, (score, area) in scores.items():
            fpr, tpr, _ = roc_curve(truth.cpu().numpy(), score.double().cpu().numpy())
            ax.plot(fpr, tpr, label=f"{name} ({area:.3f})")
        ax.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=":")
        ax.set(xlabel="clean samples suspected", ylabel="corrupted samples found")
        ax.set_box_aspect(1)
        # above the curves: any corner may hold some
        legend_above(figure, ax, 1, title="score (AUROC)", alignment="left")
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
    size = {"figsize": (WIDTH, 5), "height_ratios": (1, 2)}
    with drawing(stamp, 2, 1, **size) as (figure, (above, below)):
        colours = np.where(pruned[order], ORANGE, BLUE)
        above.bar(range(len(values)), values[order], 1.0, color=colours)
        above.set(xlabel="unit, by rank", ylabel="sensitivity")
        for chosen, colour, name in (
            (~pruned, BLUE, "kept"),
            (pruned, ORANGE, "pruned"),
        ):
            below.scatter(clean[chosen], bad[chosen], s=10, color=colour, label=name)
        below.axline((0, 0), slope=1, color=GREY, lw=0.8, ls=":")
        below.set(xlabel="mean pre-activation on clean samples",
                  ylabel="on corrupted samples")  # fmt: skip
        below.legend()
        return figure


def attributions(values: Mapping[str, tuple[float, float]], stamp: str) -> Figure:
    """AUROC of each attribution's partition, with the seconds that the attribution
    took: name -> (AUROC, seconds)."""
    names = [name.replace(":", ":\n") for name in values]
    with drawing(stamp, figsize=(WIDTH, 0.42 * len(values) + 1.2)) as (figure, ax):
        for row, (area, seconds) in enumerate(values.values()):
            ax.plot(area, row, "o", color=BLUE)
            place = {"xycoords": ("axes fraction", "data"), "va": "center"}
            ax.annotate(f"{seconds:.2g} s", (1.01, row), **place)
        ax.set_yticks(range(len(names)), names)
        ax.axvline(0.5, color=GREY, lw=0.8, ls=":")
        ax.set(xlabel="AUROC (dotted: chance)", xlim=(0, 1.02))
        ax.set_ylim(len(values) - 0.5, -0.5)
        return figure


def arms(
    values: Mapping[str, Sequence[float]], stamp: str, *, guess: float | None = None
) -> Figure:
    """Accuracy of each arm, a dot a run; a bar marks the mean of several, a dotted line
    what guessing gives."""
    names = list(values)
    with drawing(stamp, figsize=(WIDTH, 0.36 * len(names) + 1.2)) as (figure, ax):
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
        ax.set_yticks(range(len(names)), [fill(said(name), 22) for name in names])
        if guess is not None:
            ax.axvline(guess, color=GREY, lw=0.8, ls=":")
        ax.set(xlabel="accuracy, clean test set", ylim=(len(names) - 0.5, -0.5))
        ax.grid(axis="x", color=GREY, alpha=0.25)
        return figure


def stage_seconds(seconds: Mapping[str, float], stamp: str) -> Figure:
    """Where the time went, a bar a stage."""
    names = list(seconds)
    with drawing(stamp, figsize=(WIDTH, 0.3 * len(names) + 1.2)) as (figure, ax):
        bars = ax.barh([said(name) for name in names], list(seconds.values()),
                       color=BLUE)  # fmt: skip
        ax.bar_label(bars, fmt="%.2f s", padding=3, color=GREY, fontsize=SMALL)
        ax.invert_yaxis()
        ax.set_xlabel("seconds")
        ax.margins(x=0.25)
        return figure
