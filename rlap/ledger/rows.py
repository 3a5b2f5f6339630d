"""The ledger: every number of the paper beside ours, with a verdict.

One row for each of the 471 cells in each protocol and tier (``rows``), and one for each
difference that the tables imply (``gains``). The rules are in
``rlap.ledger.verdicts``; which records count, in ``rlap.ledger.evidence`` and
``rlap.ledger.integrity``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from rlap.experiments.protocol import PROTOCOLS
from rlap.files import paths
from rlap.ledger import integrity, paper
from rlap.ledger.evidence import (
    Evidence,
    file_records,
    in_units,
    is_full,
    measured,
    reference,
    setting_for,
    values,
)
from rlap.ledger.paper import Cell
from rlap.ledger.summary import interval
from rlap.ledger.verdicts import (
    CONTRADICTED,
    INCONCLUSIVE,
    MIN_SEEDS,
    NOT_RUN,
    REPRODUCED,
    VERDICTS,
    Judgement,
    corrected,
    judge_faster,
    judge_gain,
    judge_pace,
    judge_value,
    not_run,
    too_few,
)

SCALES = ("small", "small/resnet18-16", "paper")
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


@dataclass(frozen=True)
class Row:
    """A cell of the paper in one protocol and tier.

    ``paper``, ``ours``, ``low`` and ``high`` (95 % interval of our mean, cut where no
    value can be) and ``values`` (ours, by seed) are in the cell's ``unit``. ``test``
    names the rule; ``tested_*`` hold what it compared, which is not the number itself
    where the rule is "gain" or "pace". ``copy_of`` is set when the paper prints the
    same block in an earlier table.
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
    n: int
    ours: float | None
    low: float | None
    high: float | None
    verdict: str
    reason: str
    test: str
    tested_paper: float | None
    tested_ours: float | None
    tested_low: float | None
    tested_high: float | None
    detectable: float | None
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    note: str
    copy_of: str


@dataclass(frozen=True)
class Gain:
    """A difference between two methods at one setting, in accuracy (fractions)."""

    table: int
    setting_name: str
    setting_value: str
    difference: str
    paper: float
    protocol: str
    tier: str
    n: int
    ours: float | None
    low: float | None
    high: float | None
    verdict: str
    reason: str
    detectable: float | None
    p_holm: float | None


@dataclass(frozen=True)
class Ledger:
    """Everything at once; ``findings`` are faults in records, which are left out."""

    rows: list[Row]
    gains: list[Gain]
    evidence: Evidence
    records: list[Mapping] = field(repr=False)
    findings: list[integrity.Finding] = field(default_factory=list)

    def select(self, **wanted: object) -> list[Row]:
        """Rows with these values; None stands for any."""
        return select(self.rows, **wanted)


def build(folder: str | Path | None = None) -> Ledger:
    """The ledger of the records under ``folder`` (default: the committed results)."""
    folder = Path(folder) if folder is not None else paths.results_folder()
    sound, findings = integrity.examine(folder)
    evidence = file_records(sound)
    findings += [integrity.repeated(a, b) for a, b in evidence.twice]
    places = list(places_of(evidence))
    rows = [row(cell, evidence, *p) for p in places for cell in paper.cells()]
    gains = [g for p in places for g in all_gains(evidence, *p)]
    return Ledger(rows, gains, evidence, sound, findings)


def places_of(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Protocols and tiers that have a place in the ledger: the named protocols, at the
    planned tiers and at any other that was run by that protocol."""
    for protocol in PROTOCOLS:
        run = sorted(scale for name, scale in evidence.files if name == protocol)
        for scale in dict.fromkeys([*SCALES, *run]):
            yield protocol, scale


def row(cell: Cell, evidence: Evidence, protocol: str, scale: str) -> Row:
    """The row of one cell."""
    seeds = evidence.at(protocol, scale, setting_for(cell))
    own, base, used = values(seeds, cell)
    test, tested_paper, judged = judge(cell, own, base, scale)
    if judged.verdict == NOT_RUN and seeds:
        judged = replace(judged, reason="these runs do not have this arm")
    inside = [in_units(cell, v) for v in own]
    ours = interval(inside).within(0, most(cell)) if own else None
    two = ours is not None and ours.n > 1
    found = judged.found
    both = found is not None and found.n > 1
    shown = ("setting_name", "setting_value", "method", "variant", "metric", "unit")
    return Row(
        table=cell.table,
        **{name: getattr(cell, name) for name in shown},
        paper=cell.value,
        protocol=protocol,
        tier=scale,
        n=len(own),
        ours=tidy_float(ours.mean) if ours else None,
        low=tidy_float(ours.low) if two else None,
        high=tidy_float(ours.high) if two else None,
        verdict=judged.verdict,
        reason=judged.reason,
        test=test,
        tested_paper=tidy_float(tested_paper),
        tested_ours=tidy_float(found.mean) if found else None,
        tested_low=tidy_float(found.low) if both else None,
        tested_high=tidy_float(found.high) if both else None,
        detectable=tidy_float(judged.detectable) if both else None,
        seeds=tuple(used),
        values=tuple(map(tidy_float, inside)),
        note=paper.notes().get(cell.key, ""),
        copy_of=place_of_copy(cell),
    )


def most(cell: Cell) -> float:
    """The largest value that a cell can have, in its unit."""
    return math.inf if cell.is_time else in_units(cell, 1.0)


def judge(
    cell: Cell, own: Sequence[float], base: Sequence[float], scale: str
) -> tuple[str, float | None, Judgement]:
    """The rule for a cell at a scale, the paper's number as that rule sees it, and the
    judgement."""
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
        judged = judge_value(own, (low / unit, high / unit))
        return "value", cell.value / unit, judged
    if is_start:
        return "none", None, nothing_to_compare(cell, own)
    gain = (cell.value - start.value) / unit
    gains = [v - s for v, s in zip(own, base, strict=True)]
    return "gain", gain, judge_gain(gains, gain)


def nothing_to_compare(cell: Cell, own: Sequence[float]) -> Judgement:
    """The judgement on an initial model where only comparisons can be tested."""
    if not own:
        return not_run("no records")
    found = interval(own)
    if found.n < 2:
        return too_few(found)
    what = "seconds of another machine" if cell.is_time else "the value at another size"
    return Judgement(INCONCLUSIVE, f"{what} cannot be tested", found)


def all_gains(evidence: Evidence, protocol: str, scale: str) -> list[Gain]:
    """Every difference of every table in one protocol and tier; Holm's correction runs
    over the settings of one table and difference."""
    found = []
    for table in range(1, 7):
        cells = [c for c in paper.of_table(table) if c.metric == "accuracy"]
        known = {(c.setting_value, c.method, c.variant): c for c in cells}
        for first, second in GAINS:
            pairs = [
                (known[v, *first], known[v, *second])
                for v in dict.fromkeys(c.setting_value for c in cells)
                if (v, *first) in known and (v, *second) in known
            ]
            found += family(pairs, evidence, protocol, scale)
    return found


def family(
    pairs: Sequence[tuple[Cell, Cell]], evidence: Evidence, protocol: str, scale: str
) -> list[Gain]:
    """One difference at all settings of a table, corrected together."""
    printed, judged = [], []
    for first, second in pairs:
        unit = in_units(first, 1.0)
        printed.append((first.value - second.value) / unit)
        seeds = evidence.at(protocol, scale, setting_for(first))
        judged.append(judge_gain(differences(seeds, first, second), printed[-1]))
    rows = []
    for (first, second), gain, j in zip(pairs, printed, corrected(judged), strict=True):
        found, two = j.found, j.found is not None and j.found.n > 1
        rows.append(
            Gain(
                table=first.table,
                setting_name=first.setting_name,
                setting_value=first.setting_value,
                difference=f"{short(first)} minus {short(second)}",
                paper=tidy_float(gain),
                protocol=protocol,
                tier=scale,
                n=found.n if found else 0,
                ours=tidy_float(found.mean) if found else None,
                low=tidy_float(found.low) if two else None,
                high=tidy_float(found.high) if two else None,
                verdict=j.verdict,
                reason=j.reason,
                detectable=tidy_float(j.detectable) if two else None,
                p_holm=tidy_float(j.p) if two else None,
            )
        )
    return rows


def differences(seeds: Mapping[int, Mapping], first: Cell, second: Cell) -> list[float]:
    """``first`` minus ``second`` in each seed that has both."""
    runs = [record for _, record in sorted(seeds.items())]
    pairs = [(measured(r, first), measured(r, second)) for r in runs]
    return [a - b for a, b in pairs if a is not None and b is not None]


def short(cell: Cell) -> str:
    """ "F-FT" or "F-FT (abs)"."""
    name = paper.ARM[cell.method]
    return name if cell.variant == "ours" else f"{name} ({cell.variant})"


def place_of_copy(cell: Cell) -> str:
    """ "table 1, 50000" when the number is a copy from there; else empty."""
    first = paper.copies().get(cell.key)
    return f"table {first[0]}, {first[1]}" if first else ""


def tidy_float(value: float | None) -> float | None:
    """Six significant digits, as the records have."""
    return None if value is None else float(f"{value:.6g}")


def select(rows: Sequence, **wanted: object) -> list:
    """The rows whose fields have these values; None stands for any."""
    asked = {k: v for k, v in wanted.items() if v is not None}
    return [r for r in rows if all(getattr(r, k) == v for k, v in asked.items())]


def counts(rows: Sequence) -> list[dict[str, object]]:
    """For each protocol and tier: how many rows have each verdict, and in all."""
    found: dict[tuple[str, str], dict[str, object]] = {}
    for r in rows:
        line = found.setdefault(
            (r.protocol, r.tier),
            {"protocol": r.protocol, "tier": r.tier}
            | dict.fromkeys(VERDICTS, 0)
            | {"total": 0},
        )
        line[r.verdict] += 1
        line["total"] += 1
    return list(found.values())


OPEN = ("nothing to compare", "too few seeds", "not sure")


def why_open(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Inconclusive rows by protocol and tier, and why: off the paper's scale an initial
    model has nothing to be compared with; there are fewer seeds than a verdict needs;
    or the seeds differ too much."""
    found: dict[tuple[str, str], dict[str, object]] = {}
    for r in rows:
        if r.verdict == INCONCLUSIVE:
            place = {"protocol": r.protocol, "tier": r.tier}
            line = found.setdefault(
                (r.protocol, r.tier), place | dict.fromkeys(OPEN, 0)
            )
            few = OPEN[1] if r.n < MIN_SEEDS else OPEN[2]
            line[OPEN[0] if r.test == "none" else few] += 1
    return list(found.values())


def decided(rows: Sequence[Row]) -> dict[str, int]:
    """Over all protocols and tiers: how many of the paper's numbers have each verdict
    somewhere; "any", those with a verdict of any kind but "not run"; and "both", those
    reproduced in one place and contradicted in another."""
    found = {v: {key(r) for r in rows if r.verdict == v} for v in VERDICTS}
    ran = {key(r) for r in rows if r.verdict != NOT_RUN}
    both = found[REPRODUCED] & found[CONTRADICTED]
    count = {v: len(keys) for v, keys in found.items()}
    return count | {"any": len(ran), "both": len(both)}


def key(row: Row) -> tuple:
    """Which cell of the paper a row is about."""
    return row.table, row.setting_value, row.method, row.variant, row.metric


def as_dicts(rows: Sequence) -> list[dict[str, object]]:
    """Rows as plain dictionaries, for JSON and pandas."""
    return [asdict(r) for r in rows]
