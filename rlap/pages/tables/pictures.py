"""The paper's numbers beside ours, and every verdict, as pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap

from rlap.experiments.parameters import StudyParameters
from rlap.figures import GREY, SMALL, WIDTH, drawing
from rlap.ledger import paper
from rlap.ledger.cells import FULL, scale_of
from rlap.ledger.rows import Row
from rlap.ledger.verdicts import VERDICTS
from rlap.pages import words
from rlap.pages.asked import Book, Picture, picture
from rlap.pages.headline import COLOUR
from rlap.pages.html import SIGNS
from rlap.pages.tables.told import METRIC, asked, best_scale, records_of

VERDICT_COLOUR = ("#3aa57a", "#e08a2e", "#b9b9b9", "none")
MARKER = {"reproduced": "o", "contradicted": "x", "inconclusive": "o"}
VARIES = {"train_size": "training images", "noise_level": "noise level",
          "train_attack_rate": "share of noisy training images",
          "test_attack_rate": "share of noisy test images"}  # fmt: skip


def measured(book: Book, which: int) -> tuple[list[Row], str]:
    """The rows that a table's pictures show, and their scale."""
    scale = best_scale(book, which)
    return book.ledger.select(table=which, tier=scale), scale


def tick(row: Row, scale: str) -> str:
    """Where a row stands on the x axis of its panel."""
    if row.table == 2:
        return "paper's" if row.variant == "ours" else row.variant
    if row.table == 6:
        return METRIC[row.metric]
    return true_size(row, scale) if row.table == 1 else row.setting_value


def true_size(row: Row, scale: str) -> str:
    """The images that a row at a scale was trained on."""
    tier = scale.partition("/")[0].partition("+")[0]
    full = StudyParameters(tier=tier).resolved().train_size
    return f"{round(int(row.setting_value) * full / FULL):,}"


def panel(row: Row, scale: str) -> str:
    """The panel of a row: a method, for Table 2 a method at a size."""
    name = words.arm(paper.ARM[row.method])
    return f"{name}, {true_size(row, scale)} images" if row.table == 2 else name


@picture
def paper_and_ours(book: Book, which: str) -> Picture:
    """Accuracy as printed (diamonds) and as measured in each protocol, with intervals.
    The marker of a point is its verdict; panels where nothing was run are left out."""
    rows, scale = measured(book, asked(which))
    rows = [r for r in rows if r.metric == "accuracy"
            or (r.table == 6 and r.metric != "time")]  # fmt: skip
    run = {panel(r, scale) for r in rows if r.n}
    panels = list(
        dict.fromkeys(panel(r, scale) for r in rows if panel(r, scale) in run)
    )
    across = 1 if which == "6" else 2
    down = max(1, -(-len(panels) // across))
    size = {"figsize": (WIDTH, 1.75 * down + 0.9), "sharey": True, "squeeze": False}
    with drawing("", down, across, **size) as (figure, axes):
        for ax, name in zip(axes.flat, panels, strict=False):
            draw_panel(ax, [r for r in rows if panel(r, scale) == name], scale)
            ax.set_title(name)
        for ax in axes.flat[len(panels) :]:
            ax.set_visible(False)
        for ax in axes[:, 0]:
            ax.set_ylabel("%")
        for ax in axes.flat[max(0, len(panels) - across) : len(panels)]:
            ax.set_xlabel("" if which in "26" else VARIES[rows[0].setting_name])
        legend(figure, rows)
    used = [r for r in records_of(book, asked(which)) if scale_of(r) == scale]
    return Picture(figure, frame_of(rows), used, (f"table{which}",))


def draw_panel(ax, rows: Sequence[Row], scale: str) -> None:
    """The paper's points and ours at each place, protocols side by side."""
    places = list(dict.fromkeys(tick(r, scale) for r in rows))
    printed = {tick(r, scale): share(r, r.paper) for r in rows}
    line = "none" if rows[0].table in (2, 6) else "-"
    ax.plot(range(len(places)), [printed[p] for p in places], linestyle=line,
            marker="D", color=GREY, ms=3.5, lw=1)  # fmt: skip
    names = list(COLOUR)
    for row in (r for r in rows if r.ours is not None):
        x = places.index(tick(row, scale)) + 0.18 * (names.index(row.protocol) - 1)
        colour = COLOUR[row.protocol]
        if row.low is not None:
            bounds = [share(row, v) for v in (row.low, row.high)]
            ax.plot([x, x], bounds, color=colour, lw=1.2)
        hollow = row.verdict == "inconclusive"
        ax.plot(x, share(row, row.ours), MARKER[row.verdict], color=colour, ms=5,
                mew=1.4, mfc="none" if hollow else colour)  # fmt: skip
    ax.set_xticks(range(len(places)), places)
    ax.grid(axis="y", color=GREY, alpha=0.2)


def share(row: Row, value: float) -> float:
    """A row's number in per cent."""
    return 100 * value / paper.UNITS[row.unit]


def legend(figure, rows: Sequence[Row]) -> None:
    """The paper, the protocols that were run, and the signs of the verdicts."""
    from matplotlib.lines import Line2D

    run = [p for p in COLOUR if any(r.protocol == p and r.n for r in rows)]
    found = [Line2D([], [], color=GREY, marker="D", ms=4, lw=1, label="paper")]
    found += [Line2D([], [], color=COLOUR[p], lw=2, label=p) for p in run]
    seen = [v for v in MARKER if any(r.verdict == v for r in rows)]
    found += [Line2D([], [], color=GREY, lw=0, marker=MARKER[v], label=v, mew=1.4,
                     mfc="none" if v == "inconclusive" else GREY)
              for v in seen]  # fmt: skip
    figure.legend(handles=found, loc="outside upper center", ncols=3)


def frame_of(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows as the numbers behind a picture."""
    names = ["table", "setting_name", "setting_value", "method", "variant", "metric",
             "unit", "paper", "protocol", "tier", "n", "ours", "low", "high",
             "verdict"]  # fmt: skip
    return pd.DataFrame([{n: getattr(r, n) for n in names} for r in rows])


@picture
def verdict_grid(book: Book, which: str) -> Picture:
    """Every number of a table as a square with the sign of its verdict, a panel for
    each protocol that was run."""
    rows, scale = measured(book, asked(which))
    protocols = [p for p in COLOUR if any(r.protocol == p and r.n for r in rows)]
    protocols = protocols or ["released"]
    columns = list(dict.fromkeys(column(r, scale) for r in rows))
    names = list(dict.fromkeys(line_of(r) for r in rows))
    wide = len(columns) > 9  # then one below the other
    down, across = (len(protocols), 1) if wide else (1, len(protocols))
    letters = 72 * 3.0 / across / len(columns) / (0.6 * SMALL)  # that fit into a column
    size = {"figsize": (WIDTH, (0.17 * len(names) + 0.3) * down + 0.9),
            "squeeze": False, "sharex": True, "sharey": True}  # fmt: skip
    with drawing("", down, across, **size) as (figure, axes):
        for ax, protocol in zip(axes.flat, protocols, strict=True):
            grid = np.full((len(names), len(columns)), np.nan)
            for row in (r for r in rows if r.protocol == protocol):
                i, j = names.index(line_of(row)), columns.index(column(row, scale))
                grid[i, j] = VERDICTS.index(row.verdict)
                ax.text(j, i, SIGNS[row.verdict], ha="center", va="center",
                        fontsize=SMALL)  # fmt: skip
            colours = ListedColormap([c if c == "none" else f"{c}66"
                                      for c in VERDICT_COLOUR])  # fmt: skip
            ax.pcolormesh(np.arange(len(columns) + 1) - 0.5,
                          np.arange(len(names) + 1) - 0.5, grid, cmap=colours,
                          vmin=-0.5, vmax=3.5)  # fmt: skip
            ax.set(title=protocol, ylim=(len(names) - 0.5, -0.5))
            upright = max(map(len, columns)) + 0.6 > letters
            ax.set_xticks(range(len(columns)), columns, rotation=90 * upright)
            ax.set_yticks(range(len(names)), names)
            ax.tick_params(length=0)
            ax.spines[:].set_visible(False)
        if which not in "26":  # once: below each panel they would touch
            figure.supxlabel(VARIES[rows[0].setting_name], fontsize=9)
    used = [r for r in records_of(book, asked(which)) if scale_of(r) == scale]
    return Picture(figure, frame_of(rows), used, (f"table{which}",))


def column(row: Row, scale: str) -> str:
    """A row's column in the grid: its setting; for Table 2 size and criterion."""
    if row.table == 2:
        return f"{true_size(row, scale)} {tick(row, scale)}"
    if row.table == 6:
        return ""
    return true_size(row, scale) if row.table == 1 else row.setting_value


def line_of(row: Row) -> str:
    """A row's line in the grid: method and metric, in few letters."""
    name = words.arm(paper.ARM[row.method]).removesuffix(" network")
    return f"{name}, {METRIC[row.metric]}"
