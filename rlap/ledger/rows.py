"""The ledger's rows: every number of the paper beside ours, with a verdict.

One row for each of the 471 cells in each protocol and tier (``rows``), and one for each
difference that the tables imply (``gains``). The rules are in
``rlap.ledger.verdicts``; which records count, in ``rlap.ledger.evidence`` and
``rlap.ledger.integrity``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import cycle
from pathlib import Path

from rlap.files import paths
from rlap.ledger import integrity, paper
from rlap.ledger.cells import (
    in_units,
    is_full,
    measured,
    reference,
    setting_for,
    values,
)
from rlap.ledger.claims import ClaimRow, forgetting_claims, judged_claims
from rlap.ledger.counts import select
from rlap.ledger.evidence import FORGETTING, Evidence, file_records
from rlap.ledger.paper import Cell
from rlap.ledger.summary import interval
from rlap.ledger.verdicts import (
    CONTRADICTED,
    INCONCLUSIVE,
    MARGIN,
    NOT_RUN,
    REPRODUCED,
    Corrected,
    Judged,
    Judgement,
    corrected,
    judge_faster,
    judge_gain,
    judge_pace,
    judge_value,
    not_run,
    tail,
    tidy_float,
    too_few,
)

TABLES = range(1, 7)
# differences that the tables imply: (method, variant) minus (method, variant)
GAINS = (
    (("f_ft", "ours"), ("retrain", "ours")),
    (("l_ft", "ours"), ("retrain", "ours")),
    (("f_ft", "ours"), ("initial", "ours")),
    (("l_ft", "ours"), ("initial", "ours")),
    (("f_ft", "ours"), ("l_ft", "ours")),
    *(((m, "ours"), (m, v)) for m in ("f_ft", "l_ft", "pruned")
      for v in ("abs", "rms", "freq", "std")),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Row(Judged):
    """A cell of the paper in one protocol and tier.

    ``paper``, ``ours``, ``low``, ``high`` (cut where no value can be) and ``values``
    (ours, by seed) are in the cell's ``unit``. ``test`` names the rule; ``tested_*``
    hold what it compared, which is not the number itself where the rule is "gain" or
    "pace". ``copy_of`` is set when the paper prints the same block in an earlier table.
    """

    table: int
    setting_name: str
    setting_value: str
    method: str
    variant: str
    metric: str
    unit: str
    paper: float
    protocol: str
    tier: str
    test: str
    tested_paper: float | None
    tested_ours: float | None
    tested_low: float | None
    tested_high: float | None
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    note: str
    copy_of: str


@dataclass(frozen=True, kw_only=True)
class Gain(Corrected):
    """A difference between two methods at one setting, in accuracy (fractions)."""

    table: int
    setting_name: str
    setting_value: str
    difference: str
    paper: float
    protocol: str
    tier: str


@dataclass(frozen=True)
class Ledger:
    """Everything at once; ``findings`` are faults in records, which are left out.

    ``evidence`` holds the runs of the first paper, ``forgetting`` those of the other
    two, ``claims`` the claims of all three.
    """

    rows: list[Row]
    gains: list[Gain]
    claims: list[ClaimRow]
    evidence: Evidence
    forgetting: Evidence
    records: list[Mapping] = field(repr=False)
    findings: list[integrity.Finding] = field(default_factory=list)

    def select(self, **wanted: object) -> list[Row]:
        """Rows with these values; None stands for any."""
        return select(self.rows, **wanted)


def build(folder: str | Path | None = None) -> Ledger:
    """The ledger of the records under ``folder`` (default: the committed results).

    A record that cannot be judged, such as one of another version, is a finding; the
    others are judged without it.
    """
    folder = Path(folder) if folder is not None else paths.results_folder()
    sound, findings = integrity.examine(folder)
    try:
        book = judged_records(list(sound.values()))
    except integrity.ODD:
        odd = {name: why for name, record in sound.items() if (why := trial(record))}
        if not odd:
            raise
        findings += [integrity.Finding("unreadable", k, why) for k, why in odd.items()]
        book = judged_records([r for name, r in sound.items() if name not in odd])
    twice = [*book.evidence.twice, *book.forgetting.twice]
    findings += [integrity.repeated(a, b) for a, b in twice]
    return replace(book, findings=findings)


def trial(record: Mapping) -> str:
    """Why a record cannot be judged; "" for one that can."""
    try:
        judged_records([record])
    except integrity.ODD as error:
        return f"it cannot be judged ({type(error).__name__}: {error})"
    return ""


def judged_records(records: list[Mapping]) -> Ledger:
    """The ledger of records without a fault of their own."""
    evidence = file_records(records)
    forgetting = file_records(records, FORGETTING)
    rows = [row(c, evidence, *p) for p in evidence.places() for c in paper.cells()]
    judged = judged_at(evidence, forgetting, MARGIN)
    return Ledger(rows, *judged, evidence, forgetting, records)


def judged_at(
    evidence: Evidence, forgetting: Evidence, margin: float
) -> tuple[list[Gain], list[ClaimRow]]:
    """The differences and claims as they are judged with a margin."""
    gains = [g for p in evidence.places() for g in all_gains(evidence, *p, margin)]
    claims = judged_claims(evidence, margin) + forgetting_claims(forgetting, margin)
    return gains, claims


SURE = (REPRODUCED, CONTRADICTED)
MARGINS = tuple(points / 200 for points in range(11))  # 0 to 5 points


def by_margin(
    book: Ledger, margins: Sequence[float] = MARGINS
) -> list[dict[str, object]]:
    """How the verdicts move with the margin: a line for each margin and each of the
    paper's accuracies ("numbers"), the differences and the claims.

    ``reproduced``, ``contradicted`` and ``inconclusive`` count all that ran. Of the
    ``of`` that are decided at ``MARGIN``, ``same`` have the same verdict here and
    ``turned`` the opposite one; ``every`` have the same at each of the margins.
    """
    tested = [(r, c) for r, c in zip(book.rows, cycle(paper.cells()), strict=False)
              if r.n and not c.is_time]  # fmt: skip
    found: dict[str, dict[float, list[str]]] = {}
    for margin in dict.fromkeys([MARGIN, *margins]):
        gains, claims = judged_at(book.evidence, book.forgetting, margin)
        verdicts = {
            "numbers": [verdict_at(book, r, c, margin) for r, c in tested],
            "differences": [g.verdict for g in gains if g.n],
            "claims": [c.verdict for c in claims if c.n],
        }
        for what, here in verdicts.items():
            found.setdefault(what, {})[margin] = here
    return [
        {"what": what, "margin": margin, **moved(at[MARGIN], at[margin])}
        | {"every": sum(a in SURE and {a} == set(rest) for a, *rest in
                        zip(at[MARGIN], *map(at.get, margins), strict=True))}
        for what, at in found.items()
        for margin in margins
    ]  # fmt: skip


def moved(before: Sequence[str], now: Sequence[str]) -> dict[str, int]:
    """How many verdicts of each kind there are now, and what became of the sure ones of
    before."""
    sure = [pair for pair in zip(before, now, strict=True) if pair[0] in SURE]
    return {v: now.count(v) for v in (*SURE, INCONCLUSIVE)} | {
        "of": len(sure),
        "same": sum(a == b for a, b in sure),
        "turned": sum(a != b and b in SURE for a, b in sure),
    }


def verdict_at(book: Ledger, row: Row, cell: Cell, margin: float) -> str:
    """The verdict that the number of a row has with a margin."""
    seeds = book.evidence.at(row.protocol, row.tier, setting_for(cell))
    own, base, _ = values(seeds, cell)
    return judge(cell, own, base, row.tier, margin)[2].verdict


# --- the numbers ---------------------------------------------------------------------


def row(cell: Cell, evidence: Evidence, protocol: str, scale: str) -> Row:
    """The row of one cell."""
    seeds = evidence.at(protocol, scale, setting_for(cell))
    own, base, used = values(seeds, cell)
    test, tested_paper, judged = judge(cell, own, base, scale)
    if judged.verdict == NOT_RUN and seeds:
        judged = replace(judged, reason="these runs do not have this arm")
    inside = [in_units(cell, v) for v in own]
    ours = interval(inside).within(0, most(cell)) if own else None
    tested = tail(judged)
    return Row(
        **named(cell, "table setting_name setting_value method variant metric unit"),
        paper=cell.value,
        protocol=protocol,
        tier=scale,
        **tail(judged, ours, unit="factor" if test == "pace" else "points"),
        test=test,
        tested_paper=tidy_float(tested_paper),
        tested_ours=tested["ours"],
        tested_low=tested["low"],
        tested_high=tested["high"],
        seeds=tuple(used),
        values=tuple(map(tidy_float, inside)),
        note=paper.notes().get(cell.key, ""),
        copy_of=place_of_copy(cell),
    )


def named(thing: object, names: str) -> dict[str, object]:
    """Some attributes by their names."""
    return {name: getattr(thing, name) for name in names.split()}


def most(cell: Cell) -> float:
    """The largest value that a cell can have, in its unit."""
    return math.inf if cell.is_time else in_units(cell, 1.0)


def judge(
    cell: Cell,
    own: Sequence[float],
    base: Sequence[float],
    scale: str,
    margin: float = MARGIN,
) -> tuple[str, float | None, Judgement]:
    """The rule for a cell at a scale, the paper's number as that rule sees it, and the
    judgement. The ``margin`` is that of accuracies; times have a factor."""
    start, is_start = reference(cell), cell.method == "initial"
    if cell.is_time and not is_start:
        (low, high), (first, last) = cell.bounds, start.bounds
        ratios = [v / s for v, s in zip(own, base, strict=True)]
        pace = cell.value / start.value
        if is_full(scale):
            return "pace", pace, judge_pace(ratios, (low / last, high / first))
        return "pace", pace, judge_faster(ratios, pace)
    unit = in_units(cell, 1.0)
    if is_full(scale) and not cell.is_time:
        low, high = cell.bounds
        judged = judge_value(own, (low / unit, high / unit), margin)
        return "value", cell.value / unit, judged
    if is_start:
        return "none", None, nothing_to_compare(cell, own)
    gain = (cell.value - start.value) / unit
    gains = [v - s for v, s in zip(own, base, strict=True)]
    return "gain", gain, judge_gain(gains, gain, margin)


def nothing_to_compare(cell: Cell, own: Sequence[float]) -> Judgement:
    """The judgement on an initial network where only comparisons can be tested."""
    if not own:
        return not_run("no records")
    found = interval(own)
    if found.n < 2:
        return too_few(found)
    what = "seconds of another machine" if cell.is_time else "the value at another size"
    return Judgement(INCONCLUSIVE, f"{what} cannot be tested", found)


# --- the differences -----------------------------------------------------------------


def all_gains(
    evidence: Evidence, protocol: str, scale: str, margin: float = MARGIN
) -> list[Gain]:
    """Every difference of every table in one protocol and tier; Holm's correction runs
    over the settings of one table and difference."""
    found = []
    for table in TABLES:
        cells = [c for c in paper.of_table(table) if c.metric == "accuracy"]
        known = {(c.setting_value, c.method, c.variant): c for c in cells}
        for first, second in GAINS:
            pairs = [
                (known[v, *first], known[v, *second])
                for v in dict.fromkeys(c.setting_value for c in cells)
                if (v, *first) in known and (v, *second) in known
            ]
            found += family(pairs, evidence, protocol, scale, margin)
    return found


def family(
    pairs: Sequence[tuple[Cell, Cell]],
    evidence: Evidence,
    protocol: str,
    scale: str,
    margin: float = MARGIN,
) -> list[Gain]:
    """One difference at all settings of a table, corrected together."""
    printed, judged = [], []
    for first, second in pairs:
        printed.append((first.value - second.value) / in_units(first, 1.0))
        seeds = evidence.at(protocol, scale, setting_for(first))
        values = differences(seeds, first, second)
        judged.append(judge_gain(values, printed[-1], margin))
    return [
        Gain(
            **named(first, "table setting_name setting_value"),
            difference=f"{short(first)} minus {short(second)}",
            paper=tidy_float(gain),
            protocol=protocol,
            tier=scale,
            **tail(j, family=True),
        )
        for (first, second), gain, j in zip(
            pairs, printed, corrected(judged), strict=True
        )
    ]


def differences(seeds: Mapping[int, Mapping], first: Cell, second: Cell) -> list[float]:
    """``first`` minus ``second`` in each seed that has both."""
    runs = [record for _, record in sorted(seeds.items())]
    pairs = [(measured(r, first), measured(r, second)) for r in runs]
    return [a - b for a, b in pairs if a is not None and b is not None]


def short(cell: Cell) -> str:
    """ "F-FT", "retraining" or "F-FT (abs)"."""
    name = paper.SAID[cell.method]
    return name if cell.variant == "ours" else f"{name} ({cell.variant})"


def place_of_copy(cell: Cell) -> str:
    """ "table 1, 50000" when the number is a copy from there; else empty."""
    first = paper.copies().get(cell.key)
    return f"table {first[0]}, {first[1]}" if first else ""


def as_dicts(rows: Sequence) -> list[dict[str, object]]:
    """Rows as plain dictionaries, for JSON and pandas: what they are about first."""
    last = {f.name for f in fields(Corrected)}
    found = []
    for whole in map(asdict, rows):
        own = {k: v for k, v in whole.items() if k not in last}
        found.append(own | whole)
    return found
