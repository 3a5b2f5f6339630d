"""The ledger's figures: what held at a glance, and where the gain comes from.

Same style and stamp as ``rlap.figures``. A verdict has a colour and a sign, so that no
figure rests on colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rlap.figures.run import BLUE, GREEN, GREY, ORANGE, PURPLE, drawing
from rlap.ledger import paper
from rlap.ledger.differences import short_name
from rlap.ledger.rows import Row
from rlap.ledger.verdicts import VERDICTS

PROTOCOL_COLOUR = {"released": ORANGE, "described": PURPLE, "controlled": BLUE}
VERDICT_COLOUR = ("#3aa57abf", "#e08a2ebf", "#b9b9b955", "#00000000")
SIGN = ("●", "✕", "○", "–")
MARKER = {"reproduced": "o", "contradicted": "x", "inconclusive": "o"}
CRITERIA = ("ours", "abs", "rms", "freq", "std")


def panels(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of one table by panel: a method, for Table 2 a method at a size."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.metric == "accuracy" or (row.table == 6 and row.metric != "time"):
            name = paper.ARM[row.method]
            if row.table == 2:
                name += f", {int(row.setting_value):,} images"
            found.setdefault(name, []).append(row)
    return found


def place(row: Row) -> str:
    """Where a row stands on the x axis of its panel."""
    if row.table == 2:
        return row.variant
    return row.metric.removesuffix("_accuracy") if row.table == 6 else row.setting_value


def paper_and_ours(rows: Sequence[Row], stamp: str) -> Figure:
    """Accuracy as printed (grey) and as measured in each protocol, with intervals.

    ``rows`` are one table in one tier. The sign of a point is its verdict.
    """
    shown = panels(rows)
    across = 3 if rows[0].table == 2 else 2
    down = -(-len(shown) // across)
    size = {"figsize": (8, 2.2 * down + 0.9), "sharey": True}
    with drawing(stamp, down, across, squeeze=False, **size) as (figure, axes):
        for ax, (name, members) in zip(axes.flat, shown.items(), strict=False):
            places = list(dict.fromkeys(place(r) for r in members))
            printed = {place(r): 100 * share(r, r.paper) for r in members}
            line = "none" if rows[0].table in (2, 6) else "-"
            ax.plot(
                range(len(places)),
                [printed[p] for p in places],
                linestyle=line,
                marker="D",
                color=GREY,
                ms=4,
                lw=1,
            )
            for row in members:
                draw_ours(ax, row, places)
            ax.set_title(name)
            ax.set_xticks(range(len(places)), [short(p) for p in places], rotation=0)
            ax.grid(axis="y", color=GREY, alpha=0.2)
        for ax in axes.flat[len(shown) :]:
            ax.set_visible(False)
        for ax in axes[:, 0]:
            ax.set_ylabel("accuracy, %" if rows[0].table != 6 else "score, %")
        for ax in axes[-1]:
            ax.set_xlabel("" if rows[0].table in (2, 6) else words(rows[0]))
        figure.legend(handles=legend(rows), loc="outside upper center", ncols=7,
                      fontsize=8)  # fmt: skip
        return figure


def draw_ours(ax: plt.Axes, row: Row, places: Sequence[str]) -> None:
    """One measured point with its interval, moved aside so that protocols differ."""
    if row.ours is None:
        return
    names = list(PROTOCOL_COLOUR)
    x = places.index(place(row)) + 0.16 * (names.index(row.protocol) - 1)
    colour = PROTOCOL_COLOUR[row.protocol]
    if row.low is not None:
        ax.plot(
            [x, x], [100 * share(row, v) for v in (row.low, row.high)], color=colour
        )
    if len(row.values) > 1:  # the runs themselves: a mean hides two camps
        seeds = [100 * share(row, v) for v in row.values]
        beside = x + 0.03 + 0.015 * len(places)
        ax.plot([beside] * len(seeds), seeds, ".", color=colour, ms=4, mew=0)
    hollow = row.verdict == "inconclusive"
    ax.plot(
        x,
        100 * share(row, row.ours),
        MARKER[row.verdict],
        color=colour,
        ms=6,
        mew=1.6,
        mfc="none" if hollow else colour,
    )


def share(row: Row, value: float) -> float:
    """A row's number as a fraction."""
    return value / paper.UNITS[row.unit]


def short(text: str) -> str:
    """Tick labels that fit: 50000 becomes 50k."""
    return f"{float(text) / 1000:g}k" if text.isdigit() and len(text) > 3 else text


def words(row: Row) -> str:
    """The setting that a table varies."""
    return {"train_size": "training images"}.get(
        row.setting_name, row.setting_name.replace("_", " ")
    )


def legend(rows: Sequence[Row]) -> list[Line2D]:
    """The paper, the protocols that were run, and the signs of the verdicts."""
    run = [p for p in PROTOCOL_COLOUR if any(r.protocol == p and r.n for r in rows)]
    found = [Line2D([], [], color=GREY, marker="D", ms=4, lw=1, label="paper")]
    found += [Line2D([], [], color=PROTOCOL_COLOUR[p], lw=2, label=p) for p in run]
    if run:
        found += [
            Line2D([], [], color=GREY, lw=0, marker=MARKER[v], label=v, mew=1.6,
                   mfc="none" if v == "inconclusive" else GREY)
            for v in MARKER
        ]  # fmt: skip
    return found


def verdict_grid(rows: Sequence[Row], stamp: str) -> Figure:
    """Every number of one table as a square with the sign of its verdict, a panel for
    each protocol. ``rows`` are one table in one tier."""
    protocols = list(dict.fromkeys(r.protocol for r in rows))
    columns = list(dict.fromkeys(column(r) for r in rows))
    lines = list(dict.fromkeys(line_of(r) for r in rows))
    wide = len(columns) > 9  # then one below the other
    down, across = (len(protocols), 1) if wide else (1, len(protocols))
    width, height = 0.22 * len(columns) + 0.3, 0.21 * len(lines) + 0.4
    size = {"figsize": (max(1.8, width) * across + 1.6, height * down + 0.9)}
    size |= {"squeeze": False, "sharex": True, "sharey": True}
    colours = ListedColormap(VERDICT_COLOUR)
    with drawing(stamp, down, across, **size) as (figure, axes):
        for ax, protocol in zip(axes.flat, protocols, strict=True):
            grid = np.full((len(lines), len(columns)), np.nan)
            for row in (r for r in rows if r.protocol == protocol):
                i, j = lines.index(line_of(row)), columns.index(column(row))
                grid[i, j] = VERDICTS.index(row.verdict)
                ax.text(j, i, SIGN[int(grid[i, j])], ha="center", va="center",
                        fontsize=7)  # fmt: skip
            ax.imshow(grid, cmap=colours, vmin=-0.5, vmax=3.5, aspect="auto")
            ax.set_title(protocol)
            ax.set_xticks(range(len(columns)), [short(c) for c in columns], fontsize=7,
                          rotation=90 if wide else 0)  # fmt: skip
            ax.set_yticks(range(len(lines)), lines, fontsize=7)
            ax.tick_params(length=0)
            ax.spines[:].set_visible(False)
        labels = zip(VERDICTS, SIGN, VERDICT_COLOUR, strict=True)
        handles = [
            plt.Rectangle((0, 0), 1, 1, fc=colour, ec=GREY, lw=0.5,
                          label=f"{sign} {verdict}")
            for verdict, sign, colour in labels
        ]  # fmt: skip
        figure.legend(handles=handles, loc="outside upper center", ncols=4, fontsize=8)
        return figure


def column(row: Row) -> str:
    """A row's column in the grid: its setting; for Table 2 size and criterion."""
    if row.table == 2:
        return f"{short(row.setting_value)} {row.variant}"
    return "all words" if row.table == 6 else row.setting_value


def line_of(row: Row) -> str:
    """A row's line in the grid: method and metric."""
    return f"{paper.ARM[row.method]}, {row.metric.replace('_', ' ')}"


def waterfall(steps: Sequence[Mapping], first: str, second: str, stamp: str) -> Figure:
    """How the gap between two arms moves while the protocol changes a field at a time.

    ``steps`` as ``pages_walk.walk`` gives them. Left: both arms; right:
    the gap with its 95 % interval, paired by seed. Steps without runs stay empty, and
    the step after one is drawn from zero.
    """
    from rlap.ledger.summary import interval

    size = {"figsize": (8.4, 0.33 * len(steps) + 1.4), "sharey": True}
    with drawing(stamp, 1, 2, **size) as (figure, (left, right)):
        past = None
        for i, step in enumerate(steps):
            if not step["n"]:
                right.text(0, i, "not run", va="center", ha="center", fontsize=7)
                past = None  # what follows is not the worth of one field
                continue
            ends = [100 * float(np.mean(step[arm])) for arm in (second, first)]
            left.plot(ends, [i, i], color=GREY, lw=1)
            for value, colour, name in zip(
                ends, (ORANGE, BLUE), (second, first), strict=True
            ):
                left.plot(value, i, "o", color=colour, label=name)
            gap = interval([100 * (a - b) for a, b in
                            zip(step[first], step[second], strict=True)])  # fmt: skip
            start = 0.0 if past is None else past
            colour = GREY if past is None else GREEN if gap.mean >= start else PURPLE
            right.barh(i, gap.mean - start, left=start, height=0.55, color=colour,
                       alpha=0.8)  # fmt: skip
            if gap.n > 1:
                right.plot([gap.low, gap.high], [i, i], color=GREY, lw=1.2)
            past = gap.mean
        right.axvline(0, color=GREY, lw=0.8)
        left.set_yticks(range(len(steps)), [str(s["field"]) for s in steps])
        left.invert_yaxis()
        left.set(xlabel="accuracy, %")
        right.set(xlabel=f"{first} minus {second}, points")
        handles = [
            Line2D([], [], color=c, marker="o", lw=0, label=n)
            for c, n in ((BLUE, first), (ORANGE, second))
        ]
        left.legend(handles=handles, fontsize=8, loc="lower left",
                    bbox_to_anchor=(0, 1))  # fmt: skip
        return figure


def effect_bars(effects: Sequence, stamp: str, most: int = 16) -> Figure:
    """Effects of single fields on F-FT's accuracy, the largest first."""
    shown = list(effects)[:most]
    with drawing(stamp, figsize=(6.6, 0.3 * max(1, len(shown)) + 1.1)) as (figure, ax):
        for i, e in enumerate(shown):
            found, colour = e.difference, PROTOCOL_COLOUR[e.base.split("+")[0]]
            ax.plot(100 * found.mean, i, "o", color=colour)
            if found.n > 1:
                ax.plot([100 * found.low, 100 * found.high], [i, i], color=colour)
        names = [
            f"{short_name(e.base)}: {e.what} (n = {e.difference.n})" for e in shown
        ]
        ax.set_yticks(range(len(shown)), names)
        ax.axvline(0, color=GREY, lw=0.8)
        ax.set(
            ylim=(max(1, len(shown)) - 0.5, -0.5),
            xlabel="change of F-FT's accuracy, points",
        )
        if not shown:
            ax.text(0.5, 0, "not run", transform=ax.get_yaxis_transform())
        return figure


def detectors(
    found: Mapping[str, Mapping], scores: Sequence[str], stamp: str
) -> Figure:
    """How well each score tells noisy samples, by setting: a line for the mean over
    seeds and a point a seed.

    ``found`` as ``pages_partition.panels`` gives them for one protocol and tier.
    """
    colours = dict(zip(scores, (BLUE, ORANGE, GREEN, PURPLE, GREY), strict=True))
    widths = [0.6 + len(places) for places in found.values()]
    size = {"figsize": (8.4, 3.0), "sharey": True, "squeeze": False}
    size["gridspec_kw"] = {"width_ratios": widths or [1]}
    with drawing(stamp, 1, max(1, len(found)), **size) as (figure, axes):
        for ax, (axis, places) in zip(axes.flat, found.items(), strict=False):
            for k, (score, colour) in enumerate(colours.items()):
                aside = 0.07 * (k - 2)  # so that points do not hide each other
                at = {
                    i + aside: place[score]
                    for i, place in enumerate(places.values())
                    if score in place
                }
                means = [float(np.mean(values)) for values in at.values()]
                line = "none" if axis == "other noise" else "-"
                ax.plot(list(at), means, linestyle=line, color=colour, lw=1.4,
                        marker="_", ms=9, mew=1.6)  # fmt: skip
                for x, values in at.items():
                    ax.plot([x] * len(values), values, "o", color=colour, ms=2.5)
            ax.axhline(0.5, color=GREY, lw=0.6, ls=":")
            ax.set_xticks(range(len(places)), list(places))
            ax.set(xlabel=axis, xlim=(-0.5, len(places) - 0.5))
        axes[0, 0].set(ylabel="AUROC", ylim=(0.3, 1.02))
        if not found:
            axes[0, 0].text(0.5, 0.5, "not run", ha="center")
        handles = [Line2D([], [], color=c, lw=2, label=s) for s, c in colours.items()]
        figure.legend(handles=handles, loc="outside upper center", ncols=5, fontsize=8)
        return figure


def gaps_by_partition(
    lines: Sequence[Mapping], arm: str, others: Sequence[str], stamp: str
) -> Figure:
    """``arm`` minus each of ``others`` (a panel each) in every run, against the share
    of samples on their right side of the partition. ``lines``: as
    ``pages_outcomes.by_partition`` gives them; a hollow point is a run whose mixture
    started from the total attribution."""
    size = {"figsize": (7.6, 3.2), "sharey": True, "sharex": True, "squeeze": False}
    with drawing(stamp, 1, len(others), **size) as (figure, axes):
        for ax, other in zip(axes.flat, others, strict=True):
            ax.set(
                title=f"{arm} minus {other}", xlabel="samples on their right side, %"
            )
            ax.axhline(0, color=GREY, lw=0.8)
            kinds: dict[tuple[str, str], list[Mapping]] = {}
            for line in lines:
                if line[other] is not None:
                    kinds.setdefault((line["protocol"], line["start"]), []).append(line)
            for (protocol, start), shown in kinds.items():
                hollow = start == "total"
                ax.plot(
                    [100 * r["right"] for r in shown],
                    [100 * r[other] for r in shown],
                    "o",
                    color=PROTOCOL_COLOUR[protocol],
                    fillstyle="none" if hollow else "full",
                    ms=5 if hollow else 4,
                    label=protocol + (", started from the total" if hollow else ""),
                )
            if not lines:
                ax.text(0.5, 0.5, "not run", ha="center", transform=ax.transAxes)
        axes[0, 0].set(ylabel="points of accuracy")
        if lines:
            figure.legend(*axes[0, 0].get_legend_handles_labels(), ncols=3, fontsize=8,
                          loc="outside upper center")  # fmt: skip
        return figure


def over_epochs(
    found: Mapping[str, Mapping[int, Mapping[str, Sequence[float]]]], stamp: str
) -> Figure:
    """Accuracy of some arms against the epochs of training: a panel a protocol, a line
    for the mean over seeds, a point a seed. ``found``: as ``pages_walk.by_epochs``
    gives it, by protocol."""
    arms = dict.fromkeys(a for runs in found.values() for r in runs.values() for a in r)
    colours = dict(zip(arms, (GREY, BLUE, GREEN, ORANGE, PURPLE), strict=False))
    size = {"figsize": (7.6, 3.0), "sharey": True, "squeeze": False}
    with drawing(stamp, 1, max(1, len(found)), **size) as (figure, axes):
        for ax, (protocol, runs) in zip(axes.flat, found.items(), strict=False):
            ax.set(title=protocol, xlabel="epochs of initial training")
            if not runs:
                ax.text(0.5, 0.5, "not run", ha="center", transform=ax.transAxes)
                continue
            for arm, colour in colours.items():
                at = {n: values[arm] for n, values in runs.items() if arm in values}
                means = [100 * float(np.mean(v)) for v in at.values()]
                ax.plot(list(at), means, color=colour, lw=1.4)
                for n, values in at.items():
                    shown = [100 * v for v in values]
                    ax.plot([n] * len(shown), shown, "o", color=colour, ms=3)
            ax.set_xscale("log", base=2)
            ax.set_xticks(list(runs), [str(n) for n in runs])
            ax.minorticks_off()
        axes[0, 0].set(ylabel="accuracy, %")
        handles = [Line2D([], [], color=c, lw=2, label=a) for a, c in colours.items()]
        if handles:
            figure.legend(handles=handles, loc="outside upper center", ncols=5,
                          fontsize=8)  # fmt: skip
        return figure


def what_arms_take(
    found: Mapping[str, Mapping[str, Mapping[str, float]]], stamp: str
) -> Figure:
    """Seconds of each arm from nothing, as multiples of the initial training, in
    stacked parts; a panel a place. ``found``: as ``pages_time.parts_by_arm``."""
    size = {"figsize": (7.6, 0.6 + 1.25 * max(1, len(found))), "sharex": True}
    with drawing(stamp, max(1, len(found)), 1, squeeze=False, **size) as (figure, axes):
        for ax, (place, arms) in zip(axes.flat, found.items(), strict=False):
            left = np.zeros(len(arms))
            parts = next(iter(arms.values()))
            for part, colour in zip(parts, (GREY, ORANGE, BLUE), strict=True):
                widths = np.array([of[part] for of in arms.values()])
                ax.barh(list(arms), widths, left=left, color=colour, label=part)
                left += widths
            ax.invert_yaxis()
            ax.set_title(place, fontsize=9, loc="left")
        axes[-1, 0].set(xlabel="seconds, as multiples of the initial training")
        if found:
            figure.legend(*axes[0, 0].get_legend_handles_labels(), ncols=3, fontsize=8,
                          loc="outside upper center")  # fmt: skip
        else:
            axes[0, 0].text(0.5, 0.5, "not run", ha="center")
        return figure
