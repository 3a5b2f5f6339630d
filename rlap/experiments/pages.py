"""What the book's pages show: HTML and pandas tables made from the ledger.

Every function takes what ``rlap.experiments.ledger`` and its neighbours computed and
only lays it out. ``provenance`` gives the line that stands under each of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from rlap.experiments import differences, ledger, paper
from rlap.experiments.claims import ClaimRow
from rlap.experiments.differences import Effect
from rlap.experiments.evidence import Evidence, Setting, setting_of
from rlap.experiments.ledger import Gain, Ledger, Row
from rlap.experiments.protocol import steps
from rlap.experiments.summary import Interval
from rlap.experiments.verdicts import NOT_RUN, VERDICTS

MARKS = dict(zip(VERDICTS, ("●", "✕", "○", "–"), strict=True))
METRIC = {"accuracy": "accuracy", "precision": "precision", "f1": "F1",
          "time": "s an epoch", "top3_accuracy": "top-3"}  # fmt: skip


def html(text: str):
    """Something that a notebook shows as HTML."""
    from IPython.display import HTML

    return HTML(f'<div class="ledger">{text}</div>')


def table(header: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """An HTML table that scrolls in its own box; cells are HTML already."""
    head = "".join(f'<th scope="col">{name}</th>' for name in header)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="ledger-box {kind}" tabindex="0"><table class="table">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def mark(verdict: str, reason: str = "") -> str:
    """A verdict with its sign, and its reason when pointed at."""
    name = verdict.replace(" ", "-")
    return (
        f'<span class="verdict {name}" title="{escape(reason)}">'
        f"{MARKS[verdict]} {verdict}</span>"
    )


def number(value: float | None, unit: str) -> str:
    """A number of the ledger in its unit: fractions with three digits."""
    if value is None or math.isnan(value):
        return ""
    return f"{value:.1f}" if unit == "percent" else f"{value:.3g}" if unit == "s" else (
        f"{value:.3f}"
    )  # fmt: skip


def with_bounds(row: Row) -> str:
    """ "0.701 [0.690, 0.712]"."""
    if row.ours is None:
        return ""
    shown = number(row.ours, row.unit)
    if row.low is None:
        return shown
    low, high = number(row.low, row.unit), number(row.high, row.unit)
    return f"{shown} <small>[{low}, {high}]</small>"


def points(value: float | None) -> str:
    """A difference of fractions in percentage points, with its sign."""
    return "" if value is None or math.isnan(value) else f"{100 * value:+.1f}"


def points_bounds(ours: float | None, low: float | None, high: float | None) -> str:
    """ "+7.9 [+7.2, +8.6]"."""
    if low is None or math.isnan(low):
        return points(ours)
    return f"{points(ours)} <small>[{points(low)}, {points(high)}]</small>"


def of_interval(found: Interval) -> str:
    """An ``Interval`` of fractions as points."""
    return points_bounds(found.mean, found.low, found.high)


# --- counts, tables, claims ------------------------------------------------------


def counts(rows: Sequence) -> object:
    """How many rows have which verdict, by protocol and tier."""
    lines = ledger.counts(rows)
    header = ["protocol", "tier", *(f"{MARKS[v]} {v}" for v in VERDICTS), "in all"]
    return html(table(header, [[str(v) for v in line.values()] for line in lines]))


def decided(rows: Sequence[Row]) -> dict[str, int]:
    """Over all protocols and tiers: how many of the paper's numbers have each verdict
    somewhere; and "any", those with a verdict of any kind but "not run"."""
    found = {v: {key(r) for r in rows if r.verdict == v} for v in VERDICTS}
    ran = {key(r) for r in rows if r.verdict != NOT_RUN}
    return {v: len(keys) for v, keys in found.items()} | {"any": len(ran)}


def key(row: Row) -> tuple:
    """Which cell of the paper a row is about."""
    return row.table, row.setting_value, row.method, row.variant, row.metric


def tiers_with_records(rows: Sequence) -> list[str]:
    """Tiers that have anything; the first tier when none has."""
    run = list(dict.fromkeys(r.tier for r in rows if r.n))
    return run or [rows[0].tier]


def side_by_side(book: Ledger, number_of_table: int, tier: str) -> object:
    """A table of the paper beside ours in each protocol, one line a printed number."""
    rows = book.select(table=number_of_table, tier=tier)
    protocols = list(dict.fromkeys(r.protocol for r in rows))
    lines: dict[tuple, list[str]] = {}
    for row in rows:
        cell = paper.by_key()[key(row)]
        note = f' <abbr title="{escape(row.note)}">!</abbr>' if row.note else ""
        method = paper.ARM[row.method]
        method += "" if row.variant == "ours" else f" ({row.variant})"
        line = lines.setdefault(
            key(row),
            [row.setting_value, method, METRIC[row.metric], cell.printed + note],
        )
        ours = with_bounds(row)
        line.append(f"{ours}<br>{mark(row.verdict, reason(row))}" if ours else
                    mark(row.verdict, row.reason))  # fmt: skip
    name = rows[0].setting_name.replace("_", " ")
    return html(table([name, "method", "metric", "paper", *protocols], lines.values()))


def reason(row: Row) -> str:
    """Why a row has its verdict, with what was compared."""
    if row.tested_paper is None or row.tested_ours is None:
        return row.reason
    ours, low, high = row.tested_ours, row.tested_low, row.tested_high
    if row.test == "gain":
        what = "gain over the initial model, points"
        shown = [points(v) for v in (row.tested_paper, ours, low, high)]
    else:
        what = "multiple of the initial epoch" if row.test == "pace" else "value"
        shown = [f"{v:.3g}" if v is not None else "" for v in
                 (row.tested_paper, ours, low, high)]  # fmt: skip
    bounds = "" if low is None else f" [{shown[2]}, {shown[3]}]"
    return (
        f"{what}: paper {shown[0]}, ours {shown[1]}{bounds}, n = {row.n}: {row.reason}"
    )


def claims(rows: Sequence[ClaimRow], *, family: str) -> object:
    """Claims in every protocol and tier that has any records for them; one line each
    where nothing was run."""
    lines = []
    for words in dict.fromkeys(r.words for r in rows if r.family == family):
        mine = [r for r in rows if r.words == words]
        run = [r for r in mine if r.verdict != NOT_RUN] or mine[:1]
        for i, row in enumerate(run):
            ran = row.verdict != NOT_RUN
            told = f"{escape(row.words)}<br><small>{escape(row.rule)}</small>"
            lines.append(
                [
                    told if i == 0 else "",
                    row.source if i == 0 else "",
                    claim_amount(row, "paper") if i == 0 else "",
                    f"{row.protocol}, {row.tier}" if ran else "",
                    claim_bounds(row) + f", n = {row.n}" if ran else "",
                    claim_amount(row, "detectable", sign=False),
                    mark(row.verdict, row.reason)
                    + (f"<br><small>{escape(row.reason)}</small>" if ran else ""),
                ]
            )
    header = [
        "claim and rule",
        "where",
        "paper",
        "run",
        "ours",
        "n can tell",
        "verdict",
    ]
    return html(table(header, lines, "claims"))


def claim_amount(row: ClaimRow, name: str, *, sign: bool = True) -> str:
    """A claim's number in its unit."""
    value = getattr(row, name)
    if value is None:
        return ""
    if row.unit == "points":
        return f"{points(value) if sign else f'{100 * value:.1f}'} points"
    return f"{value:.0%}" if row.unit == "share" else f"{value:.3g}"


def claim_bounds(row: ClaimRow) -> str:
    """A claim's number with its interval."""
    shown = claim_amount(row, "ours")
    if row.low is None:
        return shown
    low, high = (claim_amount(row, n).removesuffix(" points") for n in ("low", "high"))
    return f"{shown} <small>[{low}, {high}]</small>"


def gains(rows: Sequence[Gain], number_of_table: int) -> object:
    """The differences that a table implies, where they were run."""
    mine = [g for g in rows if g.table == number_of_table and g.n]
    header = ["setting", "difference", "paper", "run", "ours, points", "p (Holm)",
              "verdict"]  # fmt: skip
    lines = [
        [
            g.setting_value,
            g.difference,
            points(g.paper),
            f"{g.protocol}, {g.tier}",
            points_bounds(g.ours, g.low, g.high) + f", n = {g.n}",
            "" if g.p_holm is None else f"{g.p_holm:.3f}",
            mark(g.verdict, g.reason),
        ]
        for g in mine
    ]
    return html(table(header, lines) if lines else "<p>Not run.</p>")


def anomalies(number_of_table: int) -> object:
    """What the numbers of a table say against themselves."""
    mine = [
        a for a in paper.anomalies() if any(k[0] == number_of_table for k in a.keys)
    ]
    lines = "".join(f"<li>{a.kind}: {escape(a.text)}</li>" for a in mine)
    return html(f"<ul>{lines}</ul>" if lines else "<p>None found.</p>")


# --- the whole ledger, for the page with filters ---------------------------------

SENT = ("table", "setting_value", "method", "variant", "metric", "paper", "protocol",
        "tier", "n", "ours", "low", "high", "verdict", "note", "copy_of")  # fmt: skip


def with_filters(rows: Sequence[Row]) -> object:
    """All rows for ``ledger.js``, which shows and filters them in the reader's browser.

    Each row is a list, and strings that repeat are numbered, so that the page stays
    small and opens from a file.
    """
    words: dict[str, int] = {}

    def code(value: object) -> object:
        return (
            [words.setdefault(value, len(words))] if isinstance(value, str) else value
        )

    data = [[code(getattr(r, n)) for n in SENT] + [code(reason(r))] for r in rows]
    content = {"names": [*SENT, "reason"], "words": list(words), "rows": data}
    text = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    return html(
        '<div id="rlap-ledger"><p class="ledger-mute">The filters need JavaScript; '
        "the pages of the six tables show the same rows without it.</p></div>"
        f'<script type="application/json" id="rlap-ledger-data">{text}</script>'
    )


# --- differences, waterfall, compute ---------------------------------------------


def register(evidence: Evidence) -> object:
    """The 43 differences with what each is worth."""
    lines = []
    for d in differences.register():
        found = differences.effects(evidence, d)
        how = f"<code>{d.field}</code>" if d.field else " minus ".join(d.arms or ())
        if d.tables:
            how, worth = (
                "the printed numbers",
                escape(differences.from_tables(d.tables)),
            )
        elif d.none:
            worth = f"{mark(NOT_RUN)}: {escape(d.none)}"
        elif found:
            worth = "<br>".join(effect(e) for e in found)
        else:
            names = differences.wanted(d)
            todo = " or ".join(f"<code>{t}</code>" for t in names[:3])
            todo += f" and {len(names) - 3} more" if len(names) > 3 else ""
            worth = mark(NOT_RUN) + (f": would be {todo}" if todo else "")
        where = differences.PLACES[d.where]
        lines.append([str(d.number), escape(d.title), where, how, worth])
    header = ["no.", "difference", "where", "measured by", "effect on accuracy, points"]
    return html(table(header, lines, "register"))


def effect(e: Effect) -> str:
    """One measured effect in words."""
    return (
        f"{differences.short_name(e.base, e.setting.dataset)}, {e.tier}: "
        f"{e.what}: {e.arm} {of_interval(e.difference)}, n = {e.difference.n}"
    )


def best_tier(evidence: Evidence, setting: Setting) -> str:
    """The tier in which most steps of the walk were run (else the first planned)."""
    names = [name for name, _ in steps("released", "controlled", setting.dataset)]
    tiers = dict.fromkeys([*ledger.SCALES, *(tier for _, tier in evidence.files)])
    return max(
        tiers, key=lambda t: sum(bool(evidence.at(n, t, setting)) for n in names)
    )


def walk(
    evidence: Evidence, tier: str, setting: Setting, arms: Sequence[str]
) -> list[dict[str, object]]:
    """From the released protocol to the controlled one, a field at a time: each step's
    protocol, field, accuracy by arm, and change by arm paired with the step before."""
    found, before = [], None
    for name, field in steps("released", "controlled", setting.dataset):
        here = evidence.at(name, tier, setting)
        line = {"protocol": name, "field": field or "released", "n": len(here)}
        for arm in arms:
            line[arm] = [r["arms"][arm]["accuracy"] for r in here.values()]
        if before is not None:
            changes = differences.between(
                evidence, (before, tier), (name, tier), arms, [setting]
            )
            line["change"] = {e.arm: e.difference for e in changes}
        found.append(line)
        before = name
    return found


def walk_table(lines: Sequence[Mapping], arms: Sequence[str]) -> object:
    """The steps of ``walk`` as a table."""
    rows = []
    for line in lines:
        row = [str(line["field"]), str(line["n"]) if line["n"] else mark(NOT_RUN)]
        for arm in arms:
            values = line[arm]
            mean = f"{100 * sum(values) / len(values):.1f}" if values else ""
            change = line.get("change", {}).get(arm)
            row += [mean, of_interval(change) if change else ""]
        rows.append(row)
    header = ["changed", "seeds"]
    header += [h for arm in arms for h in (f"{arm}, %", "change, points")]
    return html(table(header, rows))


def compute(records: Sequence[Mapping]) -> object:
    """Hours of computing by notebook, tier and device."""
    bill: dict[tuple, list[float]] = {}
    for r in records:
        place = (r["notebook"], r["tier"], r["data"]["name"], r["provenance"]["device"])
        bill.setdefault(place, []).append(run_seconds(r))
    lines = [
        [*map(escape, place), str(len(s)), f"{sum(s) / len(s):.0f}",
         f"{sum(s) / 3600:.2f}"]
        for place, s in sorted(bill.items())
    ]  # fmt: skip
    total = sum(map(sum, bill.values()))
    lines.append(["all", "", "", "", str(len(records)), "", f"{total / 3600:.2f}"])
    header = ["notebook", "tier", "data", "device", "runs", "s a run", "hours"]
    return html(table(header, lines))


def run_seconds(record: Mapping) -> float:
    """Seconds of all stages and arms of a run."""
    return math.fsum(record["seconds"].values())


def stages(records: Sequence[Mapping]) -> object:
    """Mean seconds of each stage, by notebook, protocol and tier."""
    groups: dict[tuple, list[Mapping]] = {}
    for r in records:
        place = (r["notebook"], r["protocol"].split("+")[0], r["tier"])
        groups.setdefault(place, []).append(r["seconds"])
    names = list(dict.fromkeys(n for g in groups.values() for s in g for n in s))
    lines = []
    for name in names:
        shown = []
        for runs in groups.values():
            values = [s[name] for s in runs if name in s]
            shown.append(f"{sum(values) / len(values):.1f}" if values else "")
        lines.append([escape(name), *shown])
    header = ["stage or arm", *(" · ".join(place) for place in groups)]
    return html(table(header, lines))


def provenance(records: Sequence[Mapping], command: str) -> str:
    """Where numbers come from and how to make them again, in two lines."""
    if not records:
        return f"no records yet\n{command}"
    where = [r["provenance"] for r in records]

    def all_of(values: Iterable[object], most: int = 4) -> str:
        found = sorted({str(v) for v in values})
        more = f" and {len(found) - most} more" if len(found) > most else ""
        return ", ".join(found[:most]) + more

    dirty = sum(bool(w["dirty"]) for w in where)
    return (
        f"{len(records)} records; {all_of(r['tier'] for r in records)} tier; seeds "
        f"{all_of((r['seed'] for r in records), 9)}; code "
        f"{all_of(w['commit'] for w in where)}"
        f"{f' ({dirty} with changes not committed)' if dirty else ''}; torch "
        f"{all_of(w['environment']['torch'] for w in where)}; "
        f"{all_of(w['device'] for w in where)}\n{command}"
    )


def orientation(records: Sequence[Mapping]) -> object:
    """A line a run: which part it kept, how pure that is, and what came of it."""
    lines = [
        [
            f"{r['parameters']['model']}, {r['tier']}",
            str(setting_of(r)),
            str(r["seed"]),
            "clean" if r["partition"]["oriented_right"] else "noisy",
            f"{r['partition']['detection']['purity']:.1%}",
            *(f"{100 * r['arms'][a]['accuracy']:.1f}" if a in r["arms"] else ""
              for a in ("initial", "L-FT", "F-FT", "retrain")),
        ]
        for r in sorted(records, key=lambda r: (str(setting_of(r)), r["seed"]))
    ]  # fmt: skip
    header = ["run", "setting", "seed", "part kept", "of it clean", "initial, %",
              "L-FT, %", "F-FT, %", "retrain, %"]  # fmt: skip
    return html(table(header, lines) if lines else f"<p>{mark(NOT_RUN)}</p>")


def time_to_accuracy(records: Sequence[Mapping]) -> object:
    """Mean seconds until an arm reaches the accuracy that retraining ends with."""
    groups: dict[tuple, list[Mapping]] = {}
    for r in records:
        place = (r["notebook"], r["protocol"].split("+")[0], r["tier"])
        if "retrain" in r["arms"]:
            groups.setdefault(place, []).append(r)
    lines = []
    for arm in ("initial", "L-FT", "F-FT", "continue", "retrain"):
        shown = []
        for runs in groups.values():
            seconds = [seconds_until(r, arm) for r in runs if arm in r["arms"]]
            there = [s for s in seconds if s is not None]
            whole = there and len(there) == len(seconds)
            share = f"{len(there)} of {len(seconds)} runs"
            mean = f"{sum(there) / len(there):.0f} s" if whole else ""
            shown.append(f"{mean} <small>({share})</small>" if seconds else "")
        lines.append([arm, *shown])
    return html(table(["arm", *(" · ".join(p) for p in groups)], lines))


def seconds_until(record: Mapping, arm: str) -> float | None:
    """Seconds from nothing until an arm first tests as well as retraining at its end;
    None if it never does."""
    target = record["arms"]["retrain"]["history"]["test_accuracy"]
    history = record["arms"][arm]["history"]
    stages = ("attribution", "partition", "sensitivity", "pruning")
    before = 0.0 if arm in ("initial", "retrain") else record["seconds"]["initial"]
    if arm in ("L-FT", "F-FT"):
        before += math.fsum(record["seconds"].get(s, 0.0) for s in stages)
    spent = before + history.get("setup_seconds", 0.0)
    curve = zip(history["seconds"], history["test_accuracy"], strict=False)
    for seconds, accuracy in curve:
        spent += seconds
        if target and accuracy >= target[-1]:
            return spent
    return None
