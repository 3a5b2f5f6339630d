"""How many numbers have which verdict, and how sure it is."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from rlap.experiments.protocol import PROTOCOLS
from rlap.figures import GREY, SMALL, WIDTH, drawing
from rlap.figures.run import GREEN, ORANGE, legend_above
from rlap.ledger import counts, differences, paper, tables
from rlap.ledger.claims import PAPER
from rlap.ledger.verdicts import CONTRADICTED, INCONCLUSIVE, MARGIN, NOT_RUN, REPRODUCED
from rlap.pages import words
from rlap.pages.asked import Book, Picture, Table, number, picture, table
from rlap.pages.html import SIGNS

SHADES = {REPRODUCED: GREEN, CONTRADICTED: ORANGE, INCONCLUSIVE: "#b9b9b9"}


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
