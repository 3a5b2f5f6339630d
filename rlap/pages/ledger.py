"""The page of the ledger: counts, every row, the claims in words, the margin."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

import pandas as pd

from rlap.experiments.protocol import PROTOCOLS
from rlap.figures import GREY, SMALL, WIDTH, drawing
from rlap.figures.run import GREEN, ORANGE, legend_above
from rlap.ledger import counts, differences, paper, tables
from rlap.ledger.claims import CONTROL, PAPER
from rlap.ledger.claims.noise import LEADS
from rlap.ledger.rows import Row
from rlap.ledger.verdicts import (
    CONTRADICTED,
    INCONCLUSIVE,
    MARGIN,
    NOT_RUN,
    REPRODUCED,
)
from rlap.pages import words
from rlap.pages.asked import Book, Picture, Table, number, picture, table
from rlap.pages.html import OWN, SIGNS, Html, because, lines, mark, small, tag
from rlap.pages.tables import METRIC, in_unit, method_told, reason, value_told


@number
def count(book: Book, what: str) -> str:
    """How many there are of something; ``LookupError`` for what is not counted."""
    rows, found = book.ledger.rows, differences.register()
    told = counts.decided(rows)
    both = told["both"]
    known: dict[str, Callable[[], int]] = {
        "numbers": lambda: len(paper.cells()),
        "copies": lambda: len(paper.copies()),
        "numbers run": lambda: told["any"],
        "reproduced": lambda: told[REPRODUCED] - both,
        "contradicted": lambda: told[CONTRADICTED] - both,
        "both ways": lambda: both,
        "decided nowhere": lambda: (
            told["any"] - told[REPRODUCED] - told[CONTRADICTED] + both
        ),
        "numbers at paper size": lambda: len(
            {counts.key(r) for r in book.ledger.select(tier="paper") if r.n}
        ),
        "records": lambda: len(book.ledger.records),
        "records of the study": lambda: len(list(book.evidence)),
        "ledger rows": lambda: len(rows),
        "decided small": lambda: sure(book, scale="small"),
        "decided everywhere": lambda: sure(book),
        "claims": lambda: book.claims[book.claims["family"] == PAPER][
            "words"
        ].nunique(),
        "differences": lambda: len(found),
        "differences measured": lambda: sum(
            not (d.tables or differences.is_open(book.evidence, d)) for d in found
        ),
        "differences open": lambda: sum(
            differences.is_open(book.evidence, d) for d in found
        ),
        "differences printed": lambda: sum(bool(d.tables) for d in found),
    }
    if what not in known:
        raise LookupError(f"no count of {what!r}; there is {', '.join(known)}")
    found = known[what]()
    return f"{found:,}" if found or what != "numbers at paper size" else "none"


def sure(book: Book, scale: str | None = None) -> int:
    """How many verdicts on printed numbers are sure, a number counting once for each
    protocol and scale (or at the one) where it is decided."""
    lines = counts.counts(book.ledger.select(tier=scale))
    return sum(line[REPRODUCED] + line[CONTRADICTED] for line in lines)


SHADES = {REPRODUCED: GREEN, CONTRADICTED: ORANGE, INCONCLUSIVE: "#b9b9b9"}


@picture
def verdicts(book: Book) -> Picture:
    """The paper's numbers by verdict, a bar for each named protocol that was run with
    the small network."""
    found = [r for r in counts.counts(book.ledger.select())
             if r["tier"] == "small" and r["protocol"] in PROTOCOLS
             and r["total"] > r[NOT_RUN]]  # fmt: skip
    names = ["protocol", *SHADES]
    data = pd.DataFrame([{n: r[n] for n in names} for r in found], columns=names)
    size = {"figsize": (WIDTH, 0.4 * max(1, len(data)) + 0.9)}
    with drawing("", **size) as (figure, ax):
        start = [0] * len(data)
        for name, colour in SHADES.items():
            bars = ax.barh(data["protocol"], data[name], left=start, color=colour,
                           label=f"{SIGNS[name]} {name}")  # fmt: skip
            # black on all three shades, whatever the page's own colour is
            ax.bar_label(bars, label_type="center", color="black", fontsize=SMALL)
            start = [a + b for a, b in zip(start, data[name], strict=True)]
        ax.invert_yaxis()
        ax.set(xlabel="printed numbers")
        ax.tick_params(axis="y", length=0)
        legend_above(figure, ax, 3)
    return Picture(figure, data, list(book.evidence))


@table
def verdict_counts(book: Book, number_of_table: str = "") -> Table:
    """How many of the paper's numbers have which verdict, by protocol and scale: where
    anything was run."""
    asked = int(number_of_table) if number_of_table else None
    shown = [r for r in book.ledger.select(table=asked)]
    ran = {(r.protocol, r.tier) for r in shown if r.n}
    lines = counts.counts([r for r in shown if (r.protocol, r.tier) in ran])
    frame = pd.DataFrame(lines).rename(columns={v: f"{SIGNS[v]} {v}" for v in SIGNS})
    frame.insert(0, "run", named_runs(frame))
    return Table(frame.drop(columns="total"), list(book.evidence))


def named_runs(frame: pd.DataFrame) -> list[str]:
    """Protocol and scale of each row in words; takes their columns out."""
    return list(map(words.run, frame.pop("protocol"), frame.pop("tier")))


@number
def decided(book: Book, protocol: str, verdict: str, scale: str = "small") -> str:
    """How many of the paper's numbers have a verdict in a protocol and at a scale."""
    lines = [r for r in counts.counts(book.ledger.select())
             if (r["protocol"], r["tier"]) == (protocol, scale)]  # fmt: skip
    if not lines or verdict not in lines[0]:
        raise LookupError(f"no verdict {verdict!r} in {protocol!r} at scale {scale!r}")
    return str(lines[0][verdict])


@table
def why_open(book: Book) -> Table:
    """Why rows are inconclusive."""
    frame = pd.DataFrame(counts.why_open(book.ledger.rows))
    frame.insert(0, "run", named_runs(frame))
    return Table(frame, list(book.evidence))


@table
def code_states(book: Book) -> Table:
    """How many committed records come from which state of the code that computed
    them."""
    frame = tables.sources(book.tables.records)
    frame = frame.assign(code=frame["code"].str[:8])
    return Table(frame, book.ledger.records)


@table
def faults(book: Book) -> Table:
    """Records that are not used, and why."""
    found = [f for f in book.ledger.findings if f.kind != "unlisted"]
    lines = [[f.kind, f.where, f.text] for f in found] or [["none", "", ""]]
    return Table(pd.DataFrame(lines, columns=["fault", "record", "what"]))


@picture
def margins(book: Book) -> Picture:
    """How many verdicts stay as they are when the margin is another."""
    data = book.margins
    kinds = list(dict.fromkeys(data["what"]))
    size = {"figsize": (WIDTH, 2.4), "sharex": True}
    with drawing("", 1, len(kinds), **size) as (figure, axes):
        for ax, kind in zip(axes, kinds, strict=True):
            mine = data[data["what"] == kind]
            for name, colour in (("reproduced", GREEN), ("contradicted", ORANGE)):
                at = 100 * mine["margin"]
                ax.plot(at, mine[name], "o-", ms=3, color=colour, label=name)
            ax.axvline(100 * MARGIN, color=GREY, lw=0.8, ls=":")
            ax.set(title=kind, xlabel="margin, points", ylim=(0, None))
        axes[0].set_ylabel("verdicts")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=2)
    return Picture(figure, data, list(book.evidence))


@number
def same_at_margins(book: Book, what: str) -> str:
    """How many of the decided verdicts are the same at every margin: "120 of 150"."""
    found = book.margins[book.margins["what"] == what]
    if found.empty:
        raise LookupError(f"no verdicts on {what!r}: numbers, differences or claims")
    return f"{found['every'].iloc[0]} of {found['of'].iloc[0]}"


@number
def apart(book: Book, protocol: str) -> str:
    """Within how many points two single runs of one and the same thing stay, 95 times
    in 100: the reason for the margin."""
    found = {(r["protocol"], r["tier"]): r["apart"]
             for r in counts.single_runs(book.ledger.rows)}  # fmt: skip
    if (protocol, "small") not in found:
        raise LookupError(f"too few runs in {protocol!r} to tell them apart")
    return words.fixed(100 * found[protocol, "small"], 1)


@number
def seen(book: Book, protocol: str) -> str:
    """How many differences of the small network have seeds enough to see the margin."""
    found = [r for r in counts.seen(book.ledger.gains)
             if (r["protocol"], r["tier"]) == (protocol, "small")]  # fmt: skip
    if not found:
        raise LookupError(f"no difference was run in {protocol!r}")
    within, of = (sum(r[k] for r in found) for k in ("within", "differences"))
    return f"{within} of {of}"


# --- claims in words ------------------------------------------------------------

FAMILIES = {"paper": PAPER, "controls": CONTROL, "leads": LEADS}


def row_of(book: Book, key: str, protocol: str, scale: str) -> pd.Series:
    """A claim's row; ``LookupError`` where there is none."""
    found = book.claims
    mine = found[(found["key"] == key) & (found["protocol"] == protocol)
                 & (found["tier"] == scale)]  # fmt: skip
    if len(mine) != 1:
        known = sorted(found["key"].unique())
        raise LookupError(f"no claim {key!r} in {protocol}, {scale}; there is {known}")
    return mine.iloc[0]


@number
def claim(book: Book, key: str, protocol: str, scale: str = "small") -> str:
    """What a claim came to: "−2.8 [−4.1, −1.5] points"."""
    return words.claim(row_of(book, key, protocol, scale))


@number
def verdict(book: Book, key: str, protocol: str, scale: str = "small") -> str:
    """The verdict on a claim, in the word for its family."""
    row = row_of(book, key, protocol, scale)
    said = row["verdict"]
    return said if row["family"] == PAPER else OWN.get(said, said)


@number
def printed(book: Book, key: str) -> str:
    """What the paper's tables say of a claim, with its unit."""
    found = book.claims[book.claims["key"] == key]
    if found.empty or pd.isna(found.iloc[0]["paper"]):
        raise LookupError(f"the paper prints nothing of a claim {key!r}")
    row = found.iloc[0]
    return words.amount(row["unit"], row["paper"]) + words.UNITS.get(row["unit"], "")


@table
def claims(book: Book, family: str) -> Table:
    """The claims of a family, in every protocol and scale that has records for them;
    one line each where nothing was run."""
    if family not in FAMILIES:
        raise LookupError(f"no family {family!r}; there is {', '.join(FAMILIES)}")
    found = book.claims[book.claims["family"] == FAMILIES[family]]
    return shown(book, found)


@table
def claims_about(book: Book, *keys: str) -> Table:
    """Some claims, where they were run."""
    if unknown := set(keys) - set(book.claims["key"]):
        raise LookupError(f"no claim {sorted(unknown)}")
    return shown(book, book.claims[book.claims["key"].isin(keys)])


@table
def claims_in_short(book: Book, *asked: str) -> Table:
    """Claims of a family, or those of these keys, by the small network: a column for
    each named protocol."""
    found = book.claims
    if len(asked) == 1 and asked[0] in FAMILIES:
        mine = found[found["family"] == FAMILIES[asked[0]]]
    elif unknown := set(asked) - set(found["key"]):
        raise LookupError(f"no claim {sorted(unknown)}, nor such a family")
    else:
        mine = found[found["key"].isin(asked)]
    rows = []
    for key in mine["key"].unique():
        every = mine[mine["key"] == key]
        first = every.iloc[0]
        row = {"claim": lines(first["words"], small(rule_told(first)))}
        for protocol in PROTOCOLS:
            at = every[(every["protocol"] == protocol) & (every["tier"] == "small")]
            row[protocol] = in_short(at.iloc[0]) if len(at) else mark(NOT_RUN)
        rows.append(row)
    frame = pd.DataFrame(rows, columns=["claim", *PROTOCOLS])
    return Table(frame, list(book.evidence))


def in_short(row: pd.Series) -> Html:
    """What a claim came to, and its verdict with the reason; in brief without opening
    it."""
    if row["verdict"] == NOT_RUN:
        return mark(NOT_RUN)
    return lines(came_to(row), verdict_of(row))


def verdict_of(row: Mapping) -> Html:
    """The verdict on a claim: in brief why, and the rest when it is opened."""
    return because(row["verdict"], the_rest(row), own=row["family"] != PAPER,
                   brief=in_brief(row))  # fmt: skip


def rule_told(row: Mapping) -> str:
    """The rule of a claim in the words of its family's verdicts."""
    rule = words.told(row["rule"])
    if row["family"] == PAPER:
        return rule
    return re.sub("|".join(OWN), lambda found: OWN[found[0]], rule)


def came_to(row: Mapping) -> str:
    """What a claim came to; what has no unit is an AUROC."""
    return f"AUROC {words.claim(row)}" if row["unit"] == "" else words.claim(row)


def in_brief(row: Mapping) -> str:
    """Of which settings a claim shows the worst, and why it is open.

    >>> in_brief({"verdict": INCONCLUSIVE, "reason": "worst of 5: rate 0.9; surely "
    ...           "above, but not after Holm's correction (p = 0.167)"})
    "worst of 5 settings; surely above, but not after Holm's correction (p = 0.167)"
    """
    told, _ = divided(row)
    return words.told("; ".join(told))


def the_rest(row: Mapping) -> str:
    """What ``in_brief`` does not say of the reason, and the number of seeds.

    >>> the_rest({"verdict": INCONCLUSIVE, "n": 3,
    ...           "reason": "worst of 5: level 9; not sure either way"})
    'the worst: level 9; n = 3'
    """
    _, rest = divided(row)
    return words.told("; ".join([*rest, f"n = {row['n']}"]))


WHERE = ("worst of ", "at ", "a verdict needs")  # parts of a reason that are no reason


def divided(row: Mapping) -> tuple[list[str], list[str]]:
    """The parts of a claim's reason that are told in brief, and the others. Why one is
    open stands last, but where settings have not been run."""
    brief, rest = [], []
    parts = row["reason"].split("; ")
    why = [p for p in parts if not p.startswith(WHERE)]
    first = [p for p in why if p.endswith("settings run")]
    shown = (first or why[-1:]) if row["verdict"] == INCONCLUSIVE else []
    for part in parts:
        worst, colon, where = part.partition(": ")
        if worst.startswith("worst of ") and colon:
            brief.append(f"{worst} settings")
            rest.append(f"the worst: {where}")
        else:
            (brief if part in shown else rest).append(part)
    return brief, rest


def shown(book: Book, found: pd.DataFrame) -> Table:
    """Claims as a table: words and rule, where, ours, verdict."""
    rows = []
    for key in found["key"].unique():
        mine = found[found["key"] == key]
        run = mine[mine["verdict"] != NOT_RUN]
        for i, row in enumerate((run if len(run) else mine[:1]).to_dict("records")):
            rows.append(line_of(row, first=i == 0))
    frame = pd.DataFrame(rows, columns=["claim", "paper", "run", "ours", "verdict"])
    if not any(frame["paper"]):  # of controls it prints nothing
        frame = frame.drop(columns="paper")
    return Table(frame, list(book.evidence), (), "claims")


def line_of(row: dict, *, first: bool) -> list:
    """A claim in one protocol and scale; its rule stands in its first line alone, and
    its words are seen there, or where rows are cards."""
    ran = row["verdict"] != NOT_RUN
    told, printed = tag("span", row["words"], class_="again"), ""
    if first:
        told = lines(row["words"], small(rule_told(row)))
        printed = words.amount(row["unit"], row["paper"])
        printed = lines(printed, small(row["source"]) if row["source"] else "")
    run = words.run(row["protocol"], row["tier"]) if ran else ""
    if not ran:
        return [told, printed, run, "", mark(NOT_RUN)]
    return [told, printed, run, came_to(row), verdict_of(row)]


# --- every row ------------------------------------------------------------------

COLUMNS = ("table", "setting", "method", "metric", "paper", "protocol", "scale", "ours",
           "verdict", "why", "seeds", "key")  # fmt: skip


def row_told(row: Row) -> list[object]:
    """A row in ``COLUMNS``, in the words of the other pages."""
    bounds = (in_unit(row, v) for v in (row.ours, row.low, row.high))
    notes = [reason(row) if row.verdict != NOT_RUN else row.reason, row.note]
    notes.append(words.printed(f"copy of {row.copy_of}") if row.copy_of else "")
    printed = paper.by_key()[counts.key(row)].printed
    return [
        f"Table {row.table}", value_told(row, row.tier), method_told(row),
        METRIC[row.metric], printed, row.protocol, words.scale(row.tier),
        words.bounded(*bounds) if row.ours is not None else "", row.verdict,
        "; ".join(filter(None, notes)), row.n, "/".join(map(str, counts.key(row))),
    ]  # fmt: skip


def rows_script(book: Book) -> str:
    """The rows as a script that a page loads from disk: strings that repeat are
    numbered."""
    known: dict[str, int] = {}
    rows = [
        [known.setdefault(v, len(known)) if isinstance(v, str) else [v]
         for v in row_told(row)]
        for row in book.ledger.rows
    ]  # fmt: skip
    data = {"columns": COLUMNS, "words": list(known), "rows": rows}
    return f"window.rlapLedger = {json.dumps(data, separators=(',', ':'))};\n"


def rows_frame(book: Book) -> pd.DataFrame:
    """All rows, as `rlap ledger --json` has them."""
    return book.tables.rows
