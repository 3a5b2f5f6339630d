"""How far results move with the seed of training, of forgetting, of examining."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlap.experiments.forgetting.account import title
from rlap.ledger.claims import seeds
from rlap.ledger.claims.seeds import (
    EXAMINING,
    FORGETTING,
    MEASURES,
    TRAINING,
    Spread,
)
from rlap.ledger.summary import counted
from rlap.ledger.verdicts import MIN_SEEDS, NOT_RUN
from rlap.pages import words
from rlap.pages.asked import Book, Table, number, table
from rlap.pages.forgetting.methods import frame
from rlap.pages.forgetting.papers import GRIDS

NAMES = {"class": "the class", "others": "the others", "probe": "the probe"}
NAMES |= {"relearning": "relearning"}


def groups(book: Book, model: str) -> dict[str, list[Mapping]]:
    """Which seed -> the runs that differ in it."""
    return seeds.groups(book.ledger.records, model)


def used(found: Mapping[str, Sequence[Mapping]]) -> list[Mapping]:
    """The records behind a table, each once."""
    return list({id(r): r for runs in found.values() for r in runs}.values())


def told(apart: Spread | None) -> str:
    """A standard deviation with the range in brackets, in points."""
    if apart is None:
        return ""
    deviation, whole = (words.fixed(100 * v, 1) for v in (apart.deviation, apart.range))
    return deviation if whole == "0.0" else f"{deviation}{words.SPACE}({whole})"


@table
def seeds_apart(book: Book, model: str) -> Table:
    """A row for each of the three seeds: the mean over methods of the standard
    deviations, with the largest range of any method."""
    found, rows = groups(book, model), []
    wide = {key: seeds.together(found, key) for key in MEASURES.values()}
    for name, runs in found.items():
        cells = [told(wide[key][name]) for key in MEASURES.values()]
        row = f"{name} ({counted(len(runs), 'run')})" if runs else f"{name}: {NOT_RUN}"
        rows.append([row, *cells])
    header = ["seed of", *MEASURES]
    rows = rows if any(found.values()) else []
    return Table(frame(rows, header), used(found), GRIDS["rivals"], kind="signs")


@table
def seeds_apart_by_method(book: Book, model: str) -> Table:
    """The same, method by method; a row for each seed that was run."""
    found = groups(book, model)
    rows = [
        # without its remark: a phone has no room for "(reconstructed)"
        [f"{title(arm).partition(' (')[0]}: {name}",
         *(told(seeds.spread(runs, arm, key)) for key in MEASURES.values())]
        for arm in seeds.methods(found)
        for name, runs in found.items() if len(runs) > 1
    ]  # fmt: skip
    header = ["method: seed of", *MEASURES]
    return Table(frame(rows, header), used(found), GRIDS["rivals"], kind="signs")


def still_to_run(book: Book, model: str) -> list[str]:
    """What there are too few runs of."""
    return [f"other seeds of {s}" for s in still_few(groups(book, model))]


@number
def seeds_move(book: Book, model: str) -> str:
    """Which seed moves each measure most, or what was not run often enough to tell: a
    sentence."""
    found = groups(book, model)
    behind = f"came from {counted(len(used(found)), 'run')}"
    few = [f"of {s} ({counted(len(found[s]), 'run')})" for s in still_few(found)]
    if few:
        missing = f"too few seeds {listed(few)}"
        return f"That is not told yet, for {missing}; what is shown {behind}"
    most: dict[str, list[str]] = {}
    for name, key in MEASURES.items():
        if mover := widest(found, key):
            most.setdefault(mover, []).append(NAMES[name])
    if not most:
        return f"That is not told: no measure has a number in all runs; this {behind}"
    parts = [f"{s} moves {listed(names)} most" for s, names in most.items()]
    return f"The seed of {', that of '.join(parts)}; this {behind}"


def still_few(found: Mapping[str, Sequence[Mapping]]) -> list[str]:
    """The seeds of which there are too few."""
    return [s for s, runs in found.items() if len(runs) < MIN_SEEDS]


def listed(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def widest(found: Mapping[str, Sequence[Mapping]], key: str) -> str:
    """The seed that moves a measure most; "" where no method has it in all runs."""
    apart = {s: v.deviation for s, v in seeds.together(found, key).items() if v}
    return max(apart, key=apart.__getitem__, default="")


@number
def methods_seed_expected(book: Book, model: str) -> str:
    """Whether the methods' seed moves less than that of training, as was expected; a
    measure without a number is left out, and named."""
    found = groups(book, model)
    came = seeds.smaller(found)
    if not came:
        return untold(found, FORGETTING, TRAINING)
    absent = [name for key, name in NAMES.items() if key not in came]
    if all(came.values()) and not absent:
        return "came true"
    told = f"came true for {sum(came.values())} of {len(came)} measures"
    if not absent:
        return told
    have = "has" if len(absent) == 1 else "have"
    return f"{told}; {listed(absent)} {have} no number in all runs"


def untold(found: Mapping[str, Sequence[Mapping]], *asked: str) -> str:
    """Why nothing is told of the seeds that are ``asked`` for."""
    if set(asked) & set(still_few(found)):
        return f"{NOT_RUN} yet"
    return "not told: no number in all runs"


@number
def judges_seed_expected(book: Book, model: str) -> str:
    """Whether the judges' seed moved relearning by as much as was expected."""
    found = groups(book, model)
    moved = seeds.by_the_judges(found)
    if moved is None:
        return untold(found, EXAMINING)
    came = "came true" if seeds.as_expected(moved) else "did not come true"
    give = words.fixed(100 * seeds.MARGIN, 0)
    return f"{came}, give or take {give}: {words.fixed(100 * moved, 1)}"
