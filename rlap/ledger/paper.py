"""The paper's numbers: 471 cells of six tables, and what is odd about them.

``paper_results.csv`` holds them as printed. A printed number is an interval: all that
rounds to it. What the tables contradict in themselves (copied blocks, impossible
triples, points off their own line) is computed here, never typed.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files

import numpy as np

UNITS = {"fraction": 1.0, "percent": 100.0, "s": 1.0}
METHODS = ("initial", "pruned", "l_ft", "f_ft", "retrain")
OFF_LINE = 0.01  # a point of accuracy off the line through the others is worth a note


@dataclass(frozen=True)
class Cell:
    """One printed number.

    Attributes:
        table, setting_name, setting_value, method, variant, metric: where it stands.
        printed: the number as text; its last digit says how it was rounded.
        unit: "fraction", "percent" or "s" (seconds an epoch).
    """

    table: int
    setting_name: str
    setting_value: str
    method: str
    variant: str
    metric: str
    printed: str
    unit: str

    @property
    def value(self) -> float:
        """The number, in ``unit``."""
        return float(self.printed)

    @property
    def digits(self) -> int:
        """Digits printed after the point."""
        return max(0, -Decimal(self.printed).as_tuple().exponent)

    @property
    def half(self) -> float:
        """Half a unit of the last digit: how far rounding can have moved it."""
        return 0.5 * 10.0**-self.digits

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and highest value that print like this, in ``unit``."""
        return self.value - self.half, self.value + self.half

    @property
    def key(self) -> tuple[int, str, str, str, str]:
        """Table, setting, method, variant and metric: unique."""
        return (*self.block, self.method, self.variant, self.metric)

    @property
    def block(self) -> tuple[int, str]:
        """The table and the setting: cells of one run."""
        return self.table, self.setting_value

    @property
    def is_time(self) -> bool:
        """Whether it is seconds an epoch and not a score."""
        return self.metric == "time"


@dataclass(frozen=True)
class Anomaly:
    """Something that the printed numbers say against themselves."""

    kind: str
    text: str
    keys: tuple[tuple, ...]


@cache
def cells() -> tuple[Cell, ...]:
    """All 471 cells, in the order of the tables; ``ValueError`` if one is twice."""
    text = files("rlap.ledger").joinpath("paper_results.csv").read_text("utf-8")
    found = []
    for row in csv.DictReader(text.splitlines()):
        table, printed = int(row.pop("table")), row.pop("value")
        if row["unit"] not in UNITS:
            raise ValueError(f"table {table}: unknown unit {row['unit']!r}")
        found.append(Cell(table=table, printed=printed, **row))
    if len({c.key for c in found}) != len(found):
        raise ValueError("a cell of the paper occurs twice")
    return tuple(found)


@cache
def by_key() -> dict[tuple, Cell]:
    """The cells by their key."""
    return {cell.key: cell for cell in cells()}


def of_table(table: int) -> list[Cell]:
    """The cells of one table; ``ValueError`` unless it is 1 to 6."""
    found = [cell for cell in cells() if cell.table == table]
    if not found:
        raise ValueError(f"the paper has no table {table}; choose 1 to 6")
    return found


def printed_gap(table: int, first: str, second: str) -> float:
    """Mean difference in accuracy that a table prints, as a fraction."""
    scores = {m: [] for m in (first, second)}
    for cell in of_table(table):
        if cell.metric == "accuracy" and cell.method in scores:
            scores[cell.method].append(cell.value / UNITS[cell.unit])
    return float(np.mean(scores[first]) - np.mean(scores[second]))


def printed_saving(method: str) -> float:
    """Share of retraining's seconds an epoch saved in Table 1, full size."""
    own, base = beside_retraining(method, "time")
    return 1 - own / base


def printed_lead(method: str) -> float:
    """Accuracy over retraining's in Table 1, full size, as a fraction."""
    own, base = beside_retraining(method, "accuracy")
    return own - base


def beside_retraining(method: str, metric: str) -> tuple[float, float]:
    """A method's number and retraining's in Table 1, full size; fractions, seconds."""
    known = by_key()
    cells = [known[1, "50000", m, "ours", metric] for m in (method, "retrain")]
    own, base = (cell.value / UNITS[cell.unit] for cell in cells)
    return own, base


@cache
def copies() -> dict[tuple, tuple]:
    """Cells that repeat a cell of another table: key -> key of the first.

    A block is a copy when it shares six cells or more with an earlier one, and four
    in five of them are printed alike.
    """
    blocks: dict[tuple, dict[tuple, Cell]] = {}
    for cell in cells():
        blocks.setdefault(cell.block, {})[cell.key[2:]] = cell
    found: dict[tuple, tuple] = {}
    names = list(blocks)
    for i, second in enumerate(names):
        for first in names[:i]:
            common = blocks[first].keys() & blocks[second].keys()
            same = [
                k
                for k in common
                if blocks[first][k].printed == blocks[second][k].printed
            ]
            enough = len(common) >= 6 and len(same) >= 0.8 * len(common)
            if first[0] != second[0] and enough:
                for k in same:
                    found.setdefault((*second, *k), (*first, *k))
    return found


def anomalies() -> list[Anomaly]:
    """Every anomaly of the tables, most telling first."""
    return [
        *impossible_triples(),
        *off_their_line(),
        *constant_predictors(),
        *equal_scores(),
        *copied_blocks(),
    ]


def triples() -> Iterator[tuple[Cell, Cell, Cell]]:
    """Accuracy, macro precision and macro F1 of each method and setting."""
    known = by_key()
    for cell in cells():
        if cell.metric == "accuracy":
            precision, f1 = (known.get((*cell.key[:4], m)) for m in ("precision", "f1"))
            if precision and f1:
                yield cell, precision, f1


def f1_bound(recall: float, precision: float) -> float:
    """The largest macro F1 that goes with a macro recall and precision: their harmonic
    mean, as F1 is a concave function of the two in every class."""
    total = recall + precision
    return 2 * recall * precision / total if total else 0.0


def impossible_triples() -> list[Anomaly]:
    """Macro F1 above its bound, even with all three rounded in its favour.

    On a class-balanced test set accuracy is macro recall (Table 6: nearly).
    """
    found = []
    for accuracy, precision, f1 in triples():
        bound = f1_bound(accuracy.bounds[1], precision.bounds[1])
        if f1.bounds[0] > bound:
            text = (
                f"{name(accuracy)}: F1 {f1.printed} cannot go with accuracy "
                f"{accuracy.printed} and precision {precision.printed}; "
                f"at most {bound:.{f1.digits}f}"
            )
            keys = (accuracy.key, precision.key, f1.key)
            found.append(Anomaly("impossible triple", text, keys))
    return found


def off_their_line() -> list[Anomaly]:
    """Table 5: accuracy is linear in the share of attacked test images, for one model.
    So the line through the other shares leads back to the number at share zero."""
    found = []
    for cell, start, _ in own_lines():
        if abs(cell.value - start) > OFF_LINE:
            text = (
                f"{name(cell)}: accuracy {cell.printed}, but its own line at "
                f"higher rates leads to {start:.4f}"
            )
            found.append(Anomaly("off its own line", text, (cell.key,)))
    return found


def own_lines() -> list[tuple[Cell, float, float]]:
    """Table 5, a method each: its cell at share zero, where the line through the others
    leads to there, and how far at most one of them lies off that line."""
    found = []
    rows = [c for c in of_table(5) if c.metric == "accuracy"]
    for method in METHODS:
        line = [c for c in rows if c.method == method]
        others = [c for c in line if float(c.setting_value) > 0]
        for cell in (c for c in line if float(c.setting_value) == 0):
            x = [float(c.setting_value) for c in others]
            values = [c.value for c in others]
            slope, start = np.polyfit(x, values, 1)
            off = np.abs(np.polyval((slope, start), x) - values).max()
            found.append((cell, float(start), float(off)))
    return found


def constant_predictors() -> list[Anomaly]:
    """Accuracy 1/10 with macro precision 1/100: one class for every image."""
    return [
        Anomaly(
            "constant predictor",
            f"{name(accuracy)}: accuracy {accuracy.printed}, precision "
            f"{precision.printed} and F1 {f1.printed} are those of a constant",
            (accuracy.key, precision.key, f1.key),
        )
        for accuracy, precision, f1 in triples()
        if accuracy.unit == "fraction"
        and (accuracy.value, precision.value) == (0.1, 0.01)
    ]


def equal_scores() -> list[Anomaly]:
    """Table 2: F1 printed equal to accuracy, to the last digit."""
    return [
        Anomaly(
            "F1 equal to accuracy",
            f"{name(accuracy)}: F1 and accuracy are both {f1.printed}",
            (accuracy.key, f1.key),
        )
        for accuracy, _, f1 in triples()
        if accuracy.table == 2 and accuracy.printed == f1.printed
    ]


def copied_blocks() -> list[Anomaly]:
    """Blocks that stand in two tables; a cell that differs is a slip in one of them."""
    pairs: dict[tuple, list[tuple]] = {}
    for second, first in copies().items():
        pairs.setdefault((first[:2], second[:2]), []).append(second)
    found = []
    for (first, second), keys in pairs.items():
        where = f"table {first[0]} at {first[1]} and table {second[0]} at {second[1]}"
        text = f"{where}: {len(keys)} numbers are printed alike"
        found.append(Anomaly("copied block", text, tuple(keys)))
        for key in (k for k in by_key() if k[:2] == second):
            twin = by_key().get((*first, *key[2:]))
            if twin and by_key()[key].printed != twin.printed:
                text = f"{where}: {twin.printed} against {by_key()[key].printed}"
                found.append(Anomaly("slip in a copy", text, (twin.key, key)))
    return found


@cache
def notes() -> dict[tuple, str]:
    """What is odd about a cell, by its key."""
    found: dict[tuple, list[str]] = {}
    for anomaly in anomalies():
        for key in anomaly.keys:
            found.setdefault(key, []).append(anomaly.kind)
    return {key: ", ".join(dict.fromkeys(kinds)) for key, kinds in found.items()}


def name(cell: Cell) -> str:
    """ "table 2, 25000, F-FT freq": where a cell stands, in words."""
    variant = "" if cell.variant == "ours" else f" {cell.variant}"
    where = f"table {cell.table}, {varied(cell)}"
    return f"{where}, {SAID[cell.method]}{variant}"


def varied(cell: Cell) -> str:
    """ "level 2", "share 0.5": the setting, with its name where a number needs one."""
    names = {3: "level ", 4: "share ", 5: "share "}
    return names.get(cell.table, "") + cell.setting_value


# the paper's methods and the arms of our records
ARM = {
    "initial": "initial",
    "pruned": "pruned",
    "l_ft": "L-FT",
    "f_ft": "F-FT",
    "retrain": "retrain",
}
# the same as a reader is told
SAID = ARM | {"initial": "initial network", "retrain": "retraining"}
