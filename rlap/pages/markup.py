"""Pieces of HTML that the book's pages are made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from rlap.experiments.records import precision_of
from rlap.ledger.rows import Row
from rlap.ledger.summary import Interval, counted
from rlap.ledger.verdicts import NOT_RUN, VERDICTS

NETWORKS = {
    "small": "small network",
    "vgg": "VGG-like network",
    "resnet18": "ResNet-18",
    "speech_cnn": "speech network",
    "speech_res8": "residual speech network",
}
MARKS = dict(zip(VERDICTS, ("●", "✕", "○", "–"), strict=True))


def network_told(model: str, tier: str, strength: float | None = None) -> str:
    """ "small network, small" of runs that forget a class, with the strength of the
    penalty in training where they have one."""
    words = f"{NETWORKS.get(model, model)}, {tier}"
    return words if strength is None else f"{words}, λ = {strength:g}"


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


def table_of(header: Sequence[str], lines: Sequence[Sequence[str]]):
    """A table as a notebook shows it, or the word "not run" for one without lines."""
    return html(table(header, lines) if lines else f"<p>{mark(NOT_RUN)}</p>")


def of_frame(frame):
    """A pandas table as the other tables are, so that ``sourced`` can take it."""
    header = ["", *(escape(str(name)) for name in frame.columns)]
    lines = [
        [escape(str(cell)) for cell in (name, *row)]
        for name, row in zip(frame.index, frame.to_numpy(dtype=object), strict=True)
    ]
    return table_of(header, lines)


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


def of_change(change: Interval) -> str:
    """A change in points, or that no seed shows any."""
    return "none" if change.low == change.high == 0 else of_interval(change)


def plain(text: str) -> str:
    """``text`` without the marks that set an interval small, for a sentence."""
    return text.replace("<small>", "").replace("</small>", "")


def provenance(records: Sequence[Mapping], command: str) -> str:
    """Where numbers come from and how to make them again, in lines that fit a page."""
    if not records:
        return f"no records yet\n{command}"
    where = [r["provenance"] for r in records]

    def all_of(values: Iterable[object], most: int = 4) -> str:
        found = sorted({str(v) for v in values})
        more = f" and {len(found) - most} more" if len(found) > most else ""
        return ", ".join(found[:most]) + more

    dirty = sum(bool(w["dirty"]) for w in where)
    return (
        f"{counted(len(records), 'record')}; "
        f"{all_of(r['tier'] for r in records)} tier; seeds "
        f"{all_of((r['seed'] for r in records), 9)};\ncode "
        f"{all_of(w['commit'] for w in where)}"
        f"{f' ({dirty} with changes not committed)' if dirty else ''};\ntorch "
        f"{all_of(w['environment']['torch'] for w in where)}; "
        f"{all_of(w['device'] for w in where)}\n{command}"
    )


def sourced(shown, records: Sequence[Mapping], *grids: str):
    """``shown`` (of ``html``) with a line below it: the records that it rests on, and
    the command that makes them again."""
    return html(f'{shown.data}<p class="made-by">{source(records, *grids)}</p>')


def source(records: Sequence[Mapping], *grids: str) -> str:
    """ "6 records, seeds 0, 1, 2 · rlap sweep grids/table1.yaml -j 2", for the line
    under a figure too. Without a grid, the command that computes from the records.
    Says how many records are of networks trained in bf16, where hardware has it."""
    files = " ".join(f"grids/{name}.yaml" for name in grids)
    command = f"rlap sweep {files} -j 2" if grids else "rlap ledger"
    seeds = sorted({r["seed"] for r in records})
    known = f", seed{'s' if len(seeds) > 1 else ''} " if seeds else ""
    known += ", ".join(map(str, seeds))
    halved = sum(precision_of(r) == "bf16" for r in records)
    known += f", {halved} in bf16" if halved else ""
    return f"{counted(len(records), 'record')}{known} · {command}"
