"""The differences between the paper's words and its code, and what each is worth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from statistics import median

import pandas as pd

from rlap.experiments.protocol import PROTOCOLS, SPEECH, Protocol, spelled
from rlap.figures import GREY, SMALL, WIDTH, drawing
from rlap.ledger import differences
from rlap.ledger.cells import headline
from rlap.ledger.differences import Difference, Effect
from rlap.ledger.summary import counted
from rlap.ledger.verdicts import MIN_SEEDS, NOT_RUN
from rlap.pages import words
from rlap.pages.asked import Book, Picture, Table, number, picture, table
from rlap.pages.cost import run_seconds
from rlap.pages.headline import COLOUR
from rlap.pages.html import Html, joined, lines, mark, small, tag

GRIDS = ("differences", "waterfall", "table1", "table6")
ORDER = ("F-FT", "L-FT", "retrain", "pruned", "initial")  # whose effect is told first
BOUNDS = ("mean", "low", "high")


@table
def register(book: Book, place: str = "") -> Table:
    """The differences of one place (a letter), or all, of which something is known,
    with what each is worth; see ``not_run`` for the others."""
    if place and place not in differences.PLACES:
        raise LookupError(f"no place {place!r}: {', '.join(differences.PLACES)}")
    rows = [
        [d.number, lines(words.spaced(d.title), how(d)), told]
        for d in differences.register()
        if place in ("", d.where) and (told := worth(book, d))
    ]
    idle = [[NOT_RUN, "", ""]]
    columns = ["no.", "difference", "what was measured"]
    frame = pd.DataFrame(rows or idle, columns=columns)
    return Table(frame, list(book.evidence), GRIDS, "register")


@table
def in_a_line(book: Book, *places: str) -> Table:
    """Every difference of some places (letters), a line each: what it is worth at its
    clearest, or how it is known."""
    if unknown := set(places) - set(differences.PLACES):
        raise LookupError(
            f"no place {sorted(unknown)}: {', '.join(differences.PLACES)}"
        )
    rows = [
        [d.number, words.spaced(d.title), briefly(book, d)]
        for d in differences.register()
        if d.where in places
    ]
    frame = pd.DataFrame(rows, columns=["no.", "difference", "worth, points"])
    return Table(frame, list(book.evidence), GRIDS, "register")


def briefly(book: Book, d: Difference) -> Html:
    """The clearest effect of a difference at the headline setting with the small
    network: of F-FT, or else of the arm that it can change."""
    if differences.is_open(book.evidence, d):
        return small(why_open(book, d)) if seeds_of(book, d) else mark(NOT_RUN)
    found = [
        e
        for e in differences.effects(book.evidence, d)
        if (e.setting, e.tier) == (headline(e.setting.dataset), "small")
    ]
    if not found:
        return small("the printed numbers" if d.tables else "told by all runs")
    order = [*ORDER, *(e.arm for e in found)]
    best = min(found, key=lambda e: (order.index(e.arm), -e.difference.n))
    minus = best.what.startswith("minus ")
    told = on_arm(best, f" {what_told(best.what)}:" if minus else "")
    where = named_of(best) or base_told(best)
    return lines(told, small(f"{where}, n = {best.difference.n}"))


def on_arm(e: Effect, than: str = "") -> str:
    """An arm and what was measured of it: "F-FT +10.0 [+8.1, +11.9]", "F-FT: none"."""
    worth = words.gap(e.difference)
    than = than or ":" * (worth == words.NO_GAP)
    return f"{words.arm(e.arm)}{than} {worth}"


@picture
def field_effects(book: Book) -> Picture:
    """The effect on F-FT of one field of a named protocol at the headline setting, the
    largest first."""
    rows = [
        {"change": f"{change_told(e)} ({named_of(e)}, n = {e.difference.n})",
         "protocol": named_of(e), "seeds": e.difference.n,
         **{k: 100 * getattr(e.difference, k) for k in BOUNDS}}
        for e in alone(book)
    ]  # fmt: skip
    data = pd.DataFrame(rows, columns=["change", "protocol", "seeds", *BOUNDS])
    with drawing("", figsize=(WIDTH, 0.36 * max(1, len(data)) + 0.8)) as (figure, ax):
        for i, e in data.iterrows():
            colour = COLOUR[e["protocol"]]
            ax.plot([e["low"], e["high"]], [i, i], color=colour)
            ax.plot(e["mean"], i, "o", color=colour, ms=5)
            # above its interval: such names are as long as the picture is wide
            ax.annotate(e["change"], (0, i - 0.42), fontsize=SMALL, va="center",
                        xycoords=("axes fraction", "data"))  # fmt: skip
            ax.plot([0, 0], [i - 0.2, i + 0.2], color=GREY, lw=0.8, zorder=0)
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        ax.set(ylim=(max(1, len(data)) - 0.6, -0.8), xlabel="change of F-FT, points")
    return Picture(figure, data.round(4), list(book.evidence), GRIDS[:2])


def alone(book: Book) -> list[Effect]:
    """The effects of one field of a named protocol on F-FT, at the headline setting
    with the small network, the largest first."""
    return [
        e
        for e in differences.strongest(book.evidence)
        if (e.setting, e.tier) == (headline(), "small") and named_of(e)
    ]


@number
def fields_alone(book: Book) -> str:
    """How many changes of one field ``field_effects`` shows."""
    return str(len(alone(book)))


@number
def pairs_left_out(book: Book) -> str:
    """How many pairs of runs are not of one network."""
    return str(differences.lone_pairs(book.evidence))


def named_of(e: Effect) -> str:
    """The named protocol in which a field was changed; "" on the walk between two."""
    base, *changed = e.base.split("+")
    own = e.what.partition("=")[0]
    return base if all(c.partition("=")[0] == own for c in changed) else ""


def change_told(e: Effect) -> str:
    """A field with the values before and after: "shuffling: no → yes"."""
    field, _, value = e.what.partition("=")
    before = words.change(f"{field}={differences.value_of(e.base, field)}")
    return f"{before} → {words.change(e.what).partition(': ')[2]}"


@table
def not_run(book: Book) -> Table:
    """The differences that no run measures: why, and what it would take to do so."""
    rows = [
        [
            d.number,
            lines(words.spaced(d.title), how(d)),
            why_open(book, d),
            would_take(book, d),
        ]
        for d in differences.register()
        if differences.is_open(book.evidence, d)
    ]
    frame = pd.DataFrame(rows, columns=["no.", "difference", "why", "would take"])
    if not frame["would take"].any():
        frame = frame.drop(columns="would take")
    return Table(frame, (), (), "register")


def why_open(book: Book, d: Difference) -> str:
    """Why nothing measures a difference: what was run may be too little."""
    most = seeds_of(book, d)
    return d.none or (f"{counted(most, 'run')}, too few" if most else "no run yet")


def seeds_of(book: Book, d: Difference) -> int:
    """The most seeds that an effect of a difference has."""
    found = differences.every_effect(book.evidence, d)
    return max((e.difference.n for e in found), default=0)


def would_take(book: Book, d: Difference) -> str:
    """Runs that would measure a difference, by how long those of the small network took
    with as many arms; "" for none."""
    names = differences.wanted(d)
    if not names:
        return ""
    data = SPEECH if differences.PLACES[d.where] == "speech" else d.dataset
    like = [
        run_seconds(r) for p in PROTOCOLS for r in book.evidence.runs(p, "small").all()
        if r["data"]["name"] == data and r["parameters"]["arms"] == "main"
    ]  # fmt: skip
    runs = MIN_SEEDS - seeds_of(book, d)
    minutes = max(1, round(runs * median(like) / 60)) if like else 0
    cost = f", about {counted(minutes, 'minute')}" if like else ""
    told = " or ".join(tag("code", name) for name in names[:2])
    return joined(f"{counted(runs, 'run')}{cost}: ", Html(told))


def how(d: Difference) -> Html:
    """By what a difference is measured."""
    if d.fields:
        names = " and ".join(d.fields)
        return small(joined("protocol field ", tag("code", names)))
    if d.arms:
        return small(" minus ".join(map(words.arm, d.arms)))
    return small("the printed numbers" if d.tables else "all runs" * bool(d.records))


def worth(book: Book, d: Difference) -> Html:
    """What was measured of a difference; "" where nothing was."""
    told = [words.told(t) for t in differences.from_records(book.evidence, d)]
    if d.tables:
        return lines(words.printed(differences.from_tables(d.tables)), *told)
    found = together(differences.effects(book.evidence, d))
    if told and differences.is_open(book.evidence, d):
        return lines(*told, joined(mark(NOT_RUN), ", with this field alone"))
    return main_first([*told, *found])


def main_first(told: Sequence[str], most: int = 4) -> Html:
    """Lines, those of the small network first; of many the rest can be opened."""
    ordered = sorted(told, key=lambda t: not re.search(r", small[:,]", t))
    if len(ordered) <= most:
        return lines(*ordered)
    rest = tag("summary", f"{len(ordered) - most} more"), lines(*ordered[most:])
    return joined(lines(*ordered[:most]), tag("details", *rest))


def together(found: Sequence[Effect]) -> list[str]:
    """Measured effects in words, a line for all arms of the same runs."""
    told: dict[str, list[str]] = {}
    for e in found:
        field = not e.what.startswith("minus ")
        what = change_told(e) if field else what_told(e.what)
        where = [named_of(e) or base_told(e), words.scale(e.tier)]
        if e.setting != headline(e.setting.dataset):
            where.append(words.setting(e.setting, e.tier))
        runs = f"{', '.join(where)}: {what}, n = {e.difference.n}"
        worth = on_arm(e)
        unit = "" if worth.endswith(words.NO_GAP) else " points"
        told.setdefault(runs, []).append(f"{worth}{unit}")
    return [f"{runs}: {'; '.join(arms)}" for runs, arms in told.items()]


def base_told(e: Effect) -> str:
    """The protocol that a difference starts from: "released, walked to the mask"."""
    name = differences.short_name(e.base, e.setting.dataset)
    before, walked, field = name.partition("walked to ")
    if walked:
        return f"{before}{walked}{words.change(field)}"
    named, *changes = name.split("+")
    told = " and ".join(map(words.change, changes))
    return f"{named} with {told}" if told else named


def what_told(what: str) -> str:
    """What was changed, or the arm that is subtracted, in words."""
    if what.startswith("minus "):
        return f"minus {words.arm(what.removeprefix('minus '))}"
    return words.change(what)


@table
def protocol_fields(book: Book) -> Table:
    """Every field of a protocol: what it says, and its values in the named ones."""
    rows = []
    for f in fields(Protocol):
        numbers = ", ".join(map(str, f.metadata["audit"]))
        told = lines(tag("code", f.name), small(words.spaced(f.metadata["meaning"])),
                     small(f"no. {numbers}") if numbers else "")  # fmt: skip
        rows.append([told, *(spelled(getattr(p, f.name)) for p in PROTOCOLS.values())])
    return Table(pd.DataFrame(rows, columns=["field", *PROTOCOLS]), (), (), "fields")
