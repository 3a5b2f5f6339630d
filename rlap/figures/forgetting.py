"""What forgetting a class has to show: accuracies, maps, units, feature spaces.

Stamped and coloured as in ``rlap.figures.run``; the class to forget is always orange.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from textwrap import fill

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from rlap.data import Split
from rlap.figures.run import (
    BLUE,
    GREEN,
    GREY,
    LINES,
    ORANGE,
    PURPLE,
    SMALL,
    WIDTH,
    as_pixels,
    drawing,
    legend_above,
    limits,
)
from rlap.figures.run import stamped as stamp_with


def stamp_of(record: Mapping) -> str:
    """What stands under a figure: tier, data, network, class, seed and code."""
    asked = record["parameters"]
    return stamp_with(record, f"{asked['model']} network", f"forgets {asked['forget']}")


def class_accuracies(
    found: Mapping[str, Tensor], label: int, classes: Sequence[str], stamp: str
) -> Figure:
    """Accuracy (C,) on each class, a group of bars a class and a bar a network."""
    width = 0.8 / len(found)
    with drawing(stamp, figsize=(WIDTH, 3.4)) as (figure, ax):
        colours = (GREY, GREEN, BLUE, ORANGE)
        for i, (name, values) in enumerate(found.items()):
            at = np.arange(len(classes)) + (i - (len(found) - 1) / 2) * width
            ax.bar(at, values.cpu().numpy(), width, color=colours[i % 4], label=name)
        ax.axvspan(label - 0.5, label + 0.5, color=ORANGE, alpha=0.15, lw=0)
        ax.set_xticks(range(len(classes)), classes, rotation=35, ha="right")
        ax.set(ylabel="accuracy on test samples", ylim=(0, 1))
        legend_above(figure, ax)
        return figure


def confusions(
    tables: Mapping[str, Tensor], label: int, classes: Sequence[str], stamp: str
) -> Figure:
    """Share of each true class (row) by what it is called, a panel a network, two to a
    row so that the names can be read."""
    columns = min(2, len(tables))
    rows = -(-len(tables) // columns)
    size = {"figsize": (WIDTH, 2.6 * rows + 0.8), "squeeze": False}
    with drawing(stamp, rows, columns, **size) as (figure, axes):
        for ax in axes.flat[len(tables) :]:
            ax.set_visible(False)
        for ax, (name, table) in zip(axes.flat, tables.items(), strict=False):
            share = table / table.sum(1, keepdim=True).clamp(min=1)
            options = {"cmap": "Blues", "vmin": 0, "vmax": 1, "aspect": "auto"}
            image = ax.imshow(share.cpu().numpy(), **options)
            ax.set_xticks(range(len(classes)), classes, rotation=90)
            ax.set_yticks(range(len(classes)), classes)
            for ticks in (ax.get_xticklabels(), ax.get_yticklabels()):
                ticks[label].set_color(ORANGE)
            ax.set_title(fill(name, 22))
            ax.tick_params(length=0)
        for ax in axes[:, 0]:
            ax.set_ylabel("true class")
        figure.colorbar(image, ax=axes, shrink=0.7, label="share of the class",
                        location="bottom", aspect=40)  # fmt: skip
        return figure


ABREAST = 4  # images that can be told apart on a phone


def relevance_maps(
    images: Split, maps: Mapping[str, Tensor], stamp: str, titles: Sequence[str] = ()
) -> Figure:
    """The first images, and below them maps (N, C, H, W) of each pixel's relevance, a
    row a network: orange for the class that is followed, blue against it."""
    count = min(len(images), ABREAST)
    each = (WIDTH - 0.9) / count
    size = {"figsize": (WIDTH, max(each, 0.5) * (len(maps) + 1) + 0.7)}
    with drawing(stamp, len(maps) + 1, count, squeeze=False, **size) as (figure, axes):
        for i in range(count):
            axes[0, i].imshow(as_pixels(images, i), interpolation="nearest")
            if titles:
                axes[0, i].set_title(titles[i], fontsize=SMALL)
        for line, (name, values) in zip(axes[1:], maps.items(), strict=True):
            line[0].set_ylabel(fill(name, 11), fontsize=SMALL, rotation=0, ha="right",
                               va="center")  # fmt: skip
            pictures = values[:count].sum(1).cpu().numpy()
            for ax, picture in zip(line, pictures, strict=True):
                top = np.quantile(np.abs(picture), 0.99) or 1.0
                ax.imshow(picture, cmap="PuOr_r", vmin=-top, vmax=top)
        for ax in axes.flat:
            ax.set(xticks=[], yticks=[])
        return figure


def where_units_sit(
    on_class: Tensor,
    elsewhere: Tensor,
    chosen: Mapping[str, Tensor],
    stamp: str,
) -> Figure:
    """Mean activation (d,) of each unit on the class and on the others, a panel a way
    of choosing units (two a row), with the chosen ones in orange."""
    x, y = elsewhere.cpu().numpy(), on_class.cpu().numpy()
    shape = math.ceil(len(chosen) / 2), min(2, len(chosen))
    size = {"figsize": (WIDTH, 1.8 * shape[0] + 0.7), "squeeze": False}
    shared = {"sharex": True, "sharey": True}
    with drawing(stamp, *shape, **size, **shared) as (figure, axes):
        for ax in axes.flat[len(chosen) :]:
            ax.set_visible(False)
        for ax, (name, units) in zip(axes.flat, chosen.items(), strict=False):
            mask = np.zeros(len(x), dtype=bool)
            mask[units.cpu().numpy()] = True
            ax.scatter(x[~mask], y[~mask], s=7, color=BLUE, alpha=0.5)
            ax.scatter(x[mask], y[mask], s=9, color=ORANGE)
            ax.axline((0, 0), slope=1, color=GREY, lw=0.8, ls=":")
            ax.set_title(f"{name} ({mask.sum()})")
        figure.supylabel("mean activation on the class", fontsize=9)
        for ax in axes[-1]:
            ax.set_xlabel("… on the other classes")
        return figure


def channel_map(
    scores: Mapping[str, Tensor], chosen: Mapping[str, Tensor], stamp: str
) -> Figure:
    """Score (d,) of each channel, a row a layer and sorted; the chosen in orange."""
    size = {"figsize": (WIDTH, 0.6 * len(scores) + 0.8), "squeeze": False}
    with drawing(stamp, len(scores), 1, **size) as (figure, axes):
        for ax, (name, values) in zip(axes[:, 0], scores.items(), strict=True):
            order = values.argsort(descending=True).cpu()
            marked = torch.isin(order, chosen[name].cpu()).numpy()
            heights = values.cpu()[order].numpy()
            ax.bar(range(len(heights)), heights, 1.0,
                   color=np.where(marked, ORANGE, BLUE))  # fmt: skip
            ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=SMALL)
            ax.set(xticks=[], xlim=(-1, len(heights)))
        axes[-1, 0].set_xlabel("channels of the layer, by score")
        return figure


def feature_spaces(
    found: Mapping[str, Tensor], labels: Tensor, label: int, name: str, stamp: str
) -> Figure:
    """Features (N, d) of test samples in two dimensions, a panel a network.

    Each panel has its own principal components: the axes of two networks mean nothing
    to each other; what can be compared is whether the class stands apart.
    """
    from sklearn.decomposition import PCA  # here: it takes seconds to import

    chosen = (labels == label).cpu().numpy()
    shape = math.ceil(len(found) / 2), min(2, len(found))
    size = {"figsize": (WIDTH, 2.3 * shape[0] + 0.8), "squeeze": False}
    with drawing(stamp, *shape, **size) as (figure, axes):
        for ax in axes.flat[len(found) :]:
            ax.set_visible(False)
        for ax, (title, features) in zip(axes.flat, found.items(), strict=False):
            x = features.double().cpu().numpy()
            plane = PCA(2, random_state=0).fit_transform(x - x.mean(0))
            ax.scatter(
                *plane[~chosen].T,
                s=3,
                color=BLUE,
                alpha=0.3,
                label="others",
                rasterized=True,
            )
            ax.scatter(
                *plane[chosen].T,
                s=5,
                color=ORANGE,
                alpha=0.8,
                label=name,
                rasterized=True,
            )
            ax.set(title=fill(title, 24), xticks=[], yticks=[])
            ax.set(xlim=limits(plane[:, 0]), ylim=limits(plane[:, 1]))
        axes[0, 0].set(xlabel="first component", ylabel="second")
        legend_above(figure, axes[0, 0], markerscale=2)
        return figure


def trade_off(
    curves: Mapping[str, Sequence[Mapping[str, float]]],
    marks: Mapping[str, Mapping[str, float]],
    stamp: str,
) -> Figure:
    """Accuracy on the class ("forget") against that on the others ("retain"): a line
    a way of forgetting, a point a setting of it; crosses are single networks. Of names
    "a, b", those with the same b share a colour, with the same a a dash."""
    names = [*curves, *marks]
    columns = 2 if max(map(len, names), default=0) < 22 else 1
    height = 3.4 + 0.17 * math.ceil(len(names) / columns)
    with drawing(stamp, figsize=(WIDTH, height)) as (figure, ax):
        for (name, points), look in zip(curves.items(), looks(curves), strict=True):
            x, y = ([point[k] for point in points] for k in ("forget", "retain"))
            ax.plot(x, y, marker="o", ms=3, lw=1, label=name, **look)
        for mark, (name, point) in zip("xX+*PD", marks.items(), strict=False):
            ax.plot(point["forget"], point["retain"], mark, ms=8, color=GREY,
                    label=name)  # fmt: skip
        ax.set(xlabel="accuracy on the class to forget", ylabel="on the other classes")
        ax.set(xlim=(-0.03, None), ylim=(0, None))
        legend_above(figure, ax, columns)
        return figure


def looks(names: Iterable[str]) -> list[dict[str, str]]:
    """Colour and dash of each line, see ``trade_off``."""
    usual = [
        dict(zip(LINES, each, strict=True))
        for each in zip(*LINES.values(), strict=True)
    ]
    parts = [name.rpartition(", ")[::2] for name in names]
    kinds, ways = (list(dict.fromkeys(each)) for each in zip(*parts, strict=True))
    if len(kinds) == 1:
        return [usual[i % len(usual)] for i in range(len(parts))]
    return [
        {
            "color": LINES["color"][ways.index(way) % 5],
            "linestyle": ("-", "--", ":")[kinds.index(kind) % 3],
        }
        for kind, way in parts
    ]


TALL = 10  # rows of a picture that has its scale above as well
STILL_KNOWN = {
    "forget_test": ("the network's answers", "o", ORANGE),
    "probe_linear_forget": ("a linear probe of the features", "s", BLUE),
    "probe_nearest_mean_forget": ("the nearest class mean", "^", GREEN),
    "relearn_fresh_head": ("relearned with a new last layer", "D", PURPLE),
}


def still_known(
    account: Mapping[str, Mapping[str, float]],
    stamp: str,
    few: Collection[str] = (),
) -> Figure:
    """What is known of the class: by the network's own answers, by a linear probe and
    by nearest class means of its features, and how far it is relearned with a new last
    layer. Dotted lines: the probe and the relearning of the retrained networks.

    ``account``: name -> the four numbers of ``STILL_KNOWN``, as means over runs or of a
    single one; what is None, as of a relearning that diverged, has no mark. ``few``:
    the names of too few runs, whose marks are open.
    """
    names = list(account)
    with drawing(stamp, figsize=(WIDTH, 0.3 * len(names) + 2)) as (figure, ax):
        for key, (label, mark, colour) in STILL_KNOWN.items():
            values = np.array([account[name][key] for name in names], dtype=float)
            at = np.arange(len(names))
            open_ = np.array([name in few for name in names])
            ax.plot(values[~open_], at[~open_], mark, color=colour, ms=6, label=label)
            if few:
                ax.plot(values[open_], at[open_], mark, color=colour, ms=6, mfc="none")
        gold = [a for name, a in account.items() if "retrain" in name]
        for key in ("probe_linear_forget", "relearn_fresh_head") if gold else ():
            found = [a[key] for a in gold if a[key] is not None]
            for at in [float(np.mean(found))] if found else []:
                ax.axvline(at, color=STILL_KNOWN[key][2], ls=":", lw=1)
        ax.set_yticks(range(len(names)), [fill(name, 24) for name in names])
        ax.set(xlabel="accuracy on the class to forget;\nshare of it relearned")
        ax.set_xlim(-0.03, 1.03)
        ax.set_ylim(len(names) - 0.5, -0.5)
        if len(names) > TALL:  # its foot may be below the screen
            ax.tick_params(axis="x", top=True, labeltop=True)
        ax.grid(axis="x", color=GREY, alpha=0.25)
        legend_above(figure, ax, 1)
        return figure


def by_layer(
    found: Mapping[str, Mapping[str, float]], label: str, stamp: str
) -> Figure:
    """A number a layer, a group of bars a layer and a bar a network."""
    layers = list(next(iter(found.values())))
    width = 0.8 / len(found)
    with drawing(stamp, figsize=(WIDTH, 2.9)) as (figure, ax):
        for i, (name, values) in enumerate(found.items()):
            at = np.arange(len(layers)) + (i - (len(found) - 1) / 2) * width
            heights = [values[layer] for layer in layers]
            ax.bar(at, heights, width, color=(BLUE, ORANGE)[i % 2], label=name)
        ax.set_xticks(range(len(layers)), layers, rotation=35, ha="right")
        ax.set(ylabel=label)
        legend_above(figure, ax)
        return figure
