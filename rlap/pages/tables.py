"""The paper's six tables beside ours: every number, the differences and the order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap

from rlap.experiments.parameters import StudyParameters
from rlap.figures import GREY, SMALL, WIDTH, drawing
from rlap.ledger import orderings, paper
from rlap.ledger.cells import FULL, scale_of, setting_for
from rlap.ledger.claims.quantities import accuracy, auroc
from rlap.ledger.counts import key
from rlap.ledger.paper import of_table
from rlap.ledger.rows import Row
from rlap.ledger.summary import p_told
from rlap.ledger.verdicts import NOT_RUN, VERDICTS
from rlap.pages import words
from rlap.pages.asked import Book, Picture, Table, number, picture, table
from rlap.pages.headline import COLOUR
from rlap.pages.html import SIGNS, because, lines, mark, small

VERDICT_COLOUR = ("#3aa57a", "#e08a2e", "#b9b9b9", "none")
MARKER = {"reproduced": "o", "contradicted": "x", "inconclusive": "o"}
METRIC = {"accuracy": "accuracy", "precision": "precision", "f1": "F1",
          "time": "seconds an epoch", "top3_accuracy": "top-3"}  # fmt: skip
VARIES = {"train_size": "training images", "noise_level": "noise level",
          "train_attack_rate": "share of noisy training images",
          "test_attack_rate": "share of noisy test images"}  # fmt: skip


def asked(text: str) -> int:
    """The number of a table; ``LookupError`` unless it is 1 to 6."""
    if text not in "123456" or len(text) != 1:
        raise LookupError(f"the paper has no Table {text!r}")
    return int(text)


def best_scale(book: Book, which: int) -> str:
    """The scale at which most numbers of a table were run; of equals the paper's."""
    run = Counter(r.tier for r in book.ledger.select(table=which) if r.n)
    return max(run, key=lambda s: (run[s], s == "paper")) if run else "small"


def records_of(book: Book, which: int) -> list[Mapping]:
    """The records at the settings of a table."""
    at = {setting_for(cell) for cell in of_table(which)}
    places = dict.fromkeys(
        (r.protocol, r.tier) for r in book.ledger.select(table=which)
    )
    found = [r for p in places for s in at for r in book.evidence.at(*p, s).values()]
    return list({id(r): r for r in found}.values())


def value_told(row: Row | paper.Cell, scale: str) -> str:
    """What a table varies: "12,500 images (paper: 50,000)", "noise level 8"."""
    at = row.setting_value
    if row.table in (1, 2):
        return words.images(setting_for(paper_cell(row)), scale)
    if row.table == 3:
        return f"noise level {at}"
    what = {4: "the training images", 5: "the test images"}.get(row.table, "")
    return f"{words.percent(float(at), 0)} of {what} noisy" if what else ""


def paper_cell(row: Row | paper.Cell) -> paper.Cell:
    """The paper's cell that a row is about."""
    return paper.by_key()[key(row)] if isinstance(row, Row) else row


def method_told(row: Row) -> str:
    """The method, and its criterion where it is not the paper's own."""
    name = words.arm(paper.ARM[row.method])
    return name if row.variant == "ours" else f"{name} ({criterion(row.variant)})"


def criterion(name: str) -> str:
    """A criterion of the paper's Table 2 with what it ranks units by."""
    return f"{name}: {words.CRITERIA[name]}" if name in words.CRITERIA else name


# --- pictures ---------------------------------------------------------------------


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


# --- numbers ----------------------------------------------------------------------


def printed_accuracy(
    which: int, setting: str, method: str, criterion: str = "ours"
) -> float:
    """An accuracy of the paper as a fraction; ``LookupError`` where none is printed."""
    key = which, setting, method, criterion, "accuracy"
    if key not in paper.by_key():
        raise LookupError(f"the paper prints no accuracy at {key}")
    cell = paper.by_key()[key]
    return cell.value / paper.UNITS[cell.unit]


@number
def printed_gap(book: Book, which: str, first: str, second: str, setting: str) -> str:
    """One method minus another (as the paper's tables call them) at a setting, as
    printed: "+10.8 points"."""
    one, two = (printed_accuracy(asked(which), setting, m) for m in (first, second))
    return f"{words.points(one - two)} points"


@number
def printed_least(book: Book, which: str) -> str:
    """The smallest lead of F-FT that a table prints: over retraining at a share of
    attacked images, in Table 2 over F-FT by another criterion."""
    table = asked(which)
    found = [
        cell for cell in of_table(table)
        if cell.metric == "accuracy" and float(cell.setting_value) > 0
        and (cell.method == "f_ft" and cell.variant != "ours" if table == 2
             else cell.method == "retrain")
    ]  # fmt: skip
    leads = [
        printed_accuracy(table, c.setting_value, "f_ft")
        - printed_accuracy(table, c.setting_value, c.method, c.variant)
        for c in found
    ]
    if not leads:
        raise LookupError(f"Table {which} prints no lead of F-FT")
    return f"{words.points(min(leads))} points"


# --- tables -----------------------------------------------------------------------


@number
def scale(book: Book, which: str) -> str:
    """The scale at which most numbers of a table were run."""
    return best_scale(book, asked(which))


@number
def table_runs(book: Book, which: str) -> str:
    """How many records stand behind a table, and their seeds."""
    return words.made_from(records_of(book, asked(which))).partition(" · ")[0]


@table
def numbers(book: Book, which: str, where: str = "") -> Table:
    """A table of the paper beside ours in each protocol that was run, a line a printed
    number. ``where``: the scale; "": the one with most runs."""
    tier = where or best_scale(book, asked(which))
    rows = book.ledger.select(table=asked(which), tier=tier)
    if not rows:
        raise LookupError(f"nothing was run at {tier!r}")
    protocols = [p for p in COLOUR if any(r.protocol == p and r.n for r in rows)]
    found: dict[tuple, dict] = {}
    for row in rows:
        printed = paper.by_key()[key(row)].printed
        line = found.setdefault(
            key(row),
            {
                "number": lines(
                    f"{method_told(row)}, {METRIC[row.metric]}",
                    small(value_told(row, tier)) if row.table < 6 else "",
                ),
                "paper": lines(printed, small(row.note) if row.note else ""),
            },
        )
        if row.protocol in protocols:
            line[row.protocol] = cell(row)
    frame = pd.DataFrame(found.values())
    return Table(frame, records_of(book, asked(which)), (f"table{which}",))


def cell(row: Row) -> str:
    """Ours with its interval, and the verdict with its reason."""
    if row.ours is None:
        return mark(NOT_RUN)
    told = words.bounded(*(in_unit(row, v) for v in (row.ours, row.low, row.high)))
    return lines(told, because(row.verdict, reason(row)))


def in_unit(row: Row, value: float | None) -> str:
    """A number of a row as its unit has it."""
    return words.fixed(value, {"percent": 1, "s": 2}.get(row.unit, 3))


def reason(row: Row) -> str:
    """Why a row has its verdict, with what was compared."""
    if row.tested_paper is None or row.tested_ours is None:
        return words.told(row.reason)
    form = words.points if row.test == "gain" else lambda v: words.fixed(v, 2)
    what = {"gain": "gain over the initial network, points", "value": "value",
            "pace": "multiple of the initial epoch"}[row.test]  # fmt: skip
    ours = words.bounded(
        *(form(v) for v in (row.tested_ours, row.tested_low, row.tested_high))
    )
    told = [f"{what}: paper {form(row.tested_paper)}, ours {ours}", row.reason]
    if row.detectable is not None:
        size = form(row.detectable).lstrip("+") + " points" * (row.test == "gain")
        told.append(would_show(size, factor=row.test == "pace"))
    return words.told("; ".join(filter(None, [*told, f"n = {row.n}"])))


def would_show(size: str, *, factor: bool = False) -> str:
    """What so many seeds, spread as they are, would have shown; "" for a size that is
    rounded to none.

    >>> would_show("8.5 points"), would_show("1.00", factor=True), would_show("0.0")
    ('a difference of 8.5 points would have shown', '', '')
    """
    if float(size.split()[0].replace(",", "")) == factor:
        return ""
    return f"a {'factor' if factor else 'difference'} of {size} would have shown"


@table
def gains(book: Book, which: str) -> Table:
    """The differences that a table implies, where they were run."""
    rows = [
        [
            lines(words.told(g.difference),
                  small(at_value(g.table, g.setting_value, g.tier))),
            words.points(g.paper),
            words.run(g.protocol, g.tier),
            words.bounded(*map(words.points, (g.ours, g.low, g.high))),
            because(g.verdict, told_by(g)),
        ]
        for g in book.ledger.gains
        if g.table == asked(which) and g.n
    ]  # fmt: skip
    frame = pd.DataFrame(
        rows, columns=["difference", "paper", "run", "ours, points", "verdict"]
    )
    return Table(frame, records_of(book, asked(which)), (f"table{which}",))


def told_by(gain) -> str:
    """Why a difference has its verdict, and what its seeds would have shown."""
    told = [gain.reason]
    if gain.p_holm is not None and "Holm" not in gain.reason:
        told.append(f"{p_told(gain.p_holm)} (Holm)")
    if gain.detectable is not None:
        size = words.fixed(100 * gain.detectable, 1)
        told.append(would_show(f"{size} points"))
    return words.told("; ".join(filter(None, [*told, f"n = {gain.n}"])))


def at_value(which: int, value: str, scale: str) -> str:
    """The setting of a difference or an order in words."""
    cells = [c for c in of_table(which) if c.setting_value == value]
    return value_told(cells[0], scale)


@table
def order(book: Book, which: str) -> Table:
    """The printed orders of a table's arms, where they were run."""
    places = list(
        dict.fromkeys(
            (r.protocol, r.tier) for r in book.ledger.select(table=asked(which))
        )
    )
    rows = [
        [
            lines(o.printed, small(at_value(o.table, o.setting_value, o.tier))),
            words.run(o.protocol, o.tier),
            because(o.verdict, words.told(f"{o.reason}; n = {o.n}")),
        ]
        for o in orderings.orderings(book.evidence, places, asked(which))
        if o.verdict != NOT_RUN
    ]
    frame = pd.DataFrame(rows, columns=["printed order", "run", "verdict"])
    return Table(frame, records_of(book, asked(which)), (f"table{which}",))


@table
def anomalies(book: Book, which: str) -> Table:
    """What the numbers of a table say against themselves."""
    mine = [a for a in paper.anomalies() if any(k[0] == asked(which) for k in a.keys)]
    rows = [[a.kind, words.printed(a.text)] for a in mine] or [["none found", ""]]
    return Table(pd.DataFrame(rows, columns=["what", "where"]))


@table
def start_quality(book: Book, which: str) -> Table:
    """How good the initial networks are and how well their partitions find the noise:
    mean and range over runs."""
    places: dict[str, list] = {}
    for r in records_of(book, asked(which)):
        places.setdefault(words.run(r["protocol"], scale_of(r)), []).append(r)
    rows = [
        [place, words.spread([accuracy(r, "initial") for r in runs], 1, 100),
         words.spread([auroc(r) for r in runs]), str(len(runs))]
        for place, runs in places.items()
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["run", "initial network, %", "AUROC", "runs"])
    return Table(frame, records_of(book, asked(which)), (f"table{which}",))
