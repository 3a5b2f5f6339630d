"""What the pages of the ledger and of the tables show, made from the ledger's rows.

Every function takes what ``rlap.ledger.rows`` and its neighbours computed and
only lays it out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from rlap.ledger import counts as counted_up
from rlap.ledger import paper
from rlap.ledger.claims import ClaimRow, amount
from rlap.ledger.orderings import Ordering
from rlap.ledger.rows import Gain, Ledger, Row
from rlap.ledger.verdicts import NOT_RUN, VERDICTS
from rlap.pages.markup import (
    MARKS,
    html,
    mark,
    network_told,
    plain,
    points,
    points_bounds,
    table,
    table_of,
    with_bounds,
)

METRIC = {"accuracy": "accuracy", "precision": "precision", "f1": "F1",
          "time": "s an epoch", "top3_accuracy": "top-3"}  # fmt: skip


def counts(rows: Sequence) -> object:
    """How many rows have which verdict, by protocol and tier."""
    lines = [[str(v) for v in line.values()] for line in counted_up.counts(rows)]
    for line in lines:
        line[1] = breakable(line[1])
    header = ["protocol", "tier", *(f"{MARKS[v]} {v}" for v in VERDICTS), "in all"]
    return html(table(header, lines))


def breakable(tier: str) -> str:
    """A tier's name in HTML; a long one may go over lines, or it would take a table's
    room."""
    return escape(tier).replace("+", "<wbr>+")


def run_told(row: Row | Gain | Ordering | ClaimRow) -> str:
    """The protocol and tier of a row; of those on forgetting network and tier."""
    if isinstance(row, ClaimRow) and row.network:
        return network_told(row.network, row.tier, row.strength)
    return f"{row.protocol}, {breakable(row.tier)}"


def tiers_with_records(rows: Sequence) -> list[str]:
    """Tiers that have anything; the first tier when none has. Those that depart from
    one that was run ("small+epochs=16") are left to the ledger."""
    run = list(dict.fromkeys(r.tier for r in rows if r.n))
    shown = [t for t in run if "+" not in t or t.split("+")[0] not in run]
    return shown or [rows[0].tier]


def why_open(rows: Sequence[Row]) -> object:
    """Why rows are inconclusive, by protocol and tier."""
    lines = counted_up.why_open(rows)
    header = ["inconclusive: protocol", "tier", *counted_up.OPEN]
    return html(table(header, [[str(v) for v in line.values()] for line in lines]))


def side_by_side(book: Ledger, number_of_table: int, tier: str) -> object:
    """A table of the paper beside ours in each protocol, one line a printed number."""
    rows = book.select(table=number_of_table, tier=tier)
    protocols = list(dict.fromkeys(r.protocol for r in rows))
    lines: dict[tuple, list[str]] = {}
    for row in rows:
        cell = paper.by_key()[counted_up.key(row)]
        note = f' <abbr title="{escape(row.note)}">!</abbr>' if row.note else ""
        method = paper.ARM[row.method]
        method += "" if row.variant == "ours" else f" ({row.variant})"
        line = lines.setdefault(
            counted_up.key(row),
            [row.setting_value, method, METRIC[row.metric], cell.printed + note],
        )
        ours = with_bounds(row)
        line.append(f"{ours}<br>{mark(row.verdict, reason(row))}" if ours else
                    mark(row.verdict, row.reason))  # fmt: skip
    name = rows[0].setting_name.replace("_", " ")
    header, body = [name, "method", "metric", "paper", *protocols], [*lines.values()]
    if len({line[0] for line in body}) == 1:  # a table of one setting
        header, body = header[1:], [line[1:] for line in body]
    return html(table(header, body))


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
    told = ""
    if row.detectable is not None:
        could = row.detectable
        told = f"{100 * could:.1f}" if row.test == "gain" else f"{could:.3g}"
        told = f" (could have told {told})"
    return (
        f"{what}: paper {shown[0]}, ours {shown[1]}{bounds}, n = {row.n}{told}: "
        f"{row.reason}"
    )


def claims(rows: Sequence[ClaimRow], *, family: str | None = None) -> object:
    """Claims, of one family or all, in every protocol and tier that has any records for
    them; one line each where nothing was run."""
    lines = []
    for words in dict.fromkeys(r.words for r in rows if family in (None, r.family)):
        mine = [r for r in rows if r.words == words]
        run = [r for r in mine if r.verdict != NOT_RUN] or mine[:1]
        for i, row in enumerate(run):
            ran = row.verdict != NOT_RUN
            told = f"{escape(row.words)}<br><small>{escape(row.rule)}</small>"
            lines.append(
                [
                    told if i == 0 else "",
                    row.source if i == 0 else "",
                    amount(row, "paper") if i == 0 else "",
                    run_told(row) if ran else "",
                    claim_bounds(row) + f", n = {row.n}" if ran else "",
                    amount(row, "detectable", sign=False),
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


def claim_bounds(row: ClaimRow) -> str:
    """A claim's number with its interval: "-2.8 [-4.1, -1.5] points"."""
    if row.low is None:
        return amount(row)
    unit = next((word for word in (" points", " ms") if word in amount(row)), "")
    ours, low, high = (
        amount(row, name).removesuffix(unit) for name in ("ours", "low", "high")
    )
    return f"{ours} <small>[{low}, {high}]</small>{unit}"


def claim_words(rows: Sequence[ClaimRow], key: str, protocol: str, tier: str) -> str:
    """What a claim came to, for a sentence."""
    (row,) = (r for r in rows if (r.key, r.protocol, r.tier) == (key, protocol, tier))
    ran = row.verdict != NOT_RUN and row.ours is not None
    return plain(claim_bounds(row)) if ran else NOT_RUN


def gains(rows: Sequence[Gain], number_of_table: int) -> object:
    """The differences that a table implies, where they were run, and the smallest that
    so many seeds would have told from none."""
    mine = [g for g in rows if g.table == number_of_table and g.n]
    header = ["setting", "difference", "paper", "run", "ours, points", "n can tell",
              "p (Holm)", "verdict"]  # fmt: skip
    lines = [
        [
            g.setting_value,
            g.difference,
            points(g.paper),
            run_told(g),
            points_bounds(g.ours, g.low, g.high) + f", n = {g.n}",
            "" if g.detectable is None else f"{100 * g.detectable:.1f}",
            "" if g.p_holm is None else f"{g.p_holm:.3f}",
            mark(g.verdict, g.reason),
        ]
        for g in mine
    ]
    return html(table(header, lines) if lines else "<p>Not run.</p>")


def orderings(rows: Sequence[Ordering]) -> object:
    """The printed orders of a table's arms, where they were run."""
    header = ["setting", "printed order", "run", "n", "verdict", "decided by, points"]
    lines = [
        [
            o.setting_value,
            escape(o.printed),
            run_told(o),
            str(o.n),
            mark(o.verdict, o.reason),
            escape(o.reason),
        ]
        for o in rows
        if o.verdict != NOT_RUN
    ]
    return table_of(header, lines)


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
