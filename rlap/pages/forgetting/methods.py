"""All methods that forget a class, of all notebooks together: four signs for each, and
who was judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

import pandas as pd

from rlap.data.images import CIFAR10_CLASSES
from rlap.experiments.forgetting.account import CHOSEN, RELATIVE, title
from rlap.figures.forgetting import STILL_KNOWN, still_known
from rlap.ledger.claims.quantities import kept
from rlap.ledger.claims.rivals import (
    OPEN,
    SIGNS,
    TRAINED,
    YES,
    has_enough,
    in_the_features,
    sign,
)
from rlap.ledger.evidence import NPP, OSP, RIVALS, Runs
from rlap.ledger.summary import counted
from rlap.ledger.verdicts import MIN_SEEDS, NOT_RUN
from rlap.pages import words
from rlap.pages.asked import Book, Picture, Table, number, picture, table
from rlap.pages.forgetting.papers import GRIDS, one

SOURCES = {"rivals": RIVALS, "npp": NPP, "osp": OSP}  # the first of equals
GRID = tuple(name for key in SOURCES for name in GRIDS[key])
# what begins the short table: networks to compare with, and the least of all methods
BEGIN = ("original", "retrained", "logit_mask")
# networks to compare with, parts of a method, and a paper's method read in another way
STANDARD = ("original", "retrained", "retrained again", "continued")
PARTS = ("damp_body", "damp_head", "lra_npp_target")
ANOTHER = ("lra_npp_layers",)
# of the settings that authors took, the one whose numbers are printed beside ours
RELEASED = ("lra_npp",)
NETWORKS = ("small", "vgg")
HEADS = {"relearning": RELATIVE["relearn_fresh_head"]}
# what is shown of an arm beside its sign, in per cent; of the others what they lost
SHOWN = {
    "class outputs": "forget_test",
    "others kept": None,
    "probe": "probe_linear_forget",
    "relearning": "relearn_fresh_head",
}


def arms(book: Book, model: str) -> Iterator[tuple[str, Runs]]:
    """Every method's arm with the runs that have it: of notebooks with as many seeds as
    a verdict needs the one with the most classes, else the one with the most seeds. One
    shot comes before what trains."""
    found: dict[str, tuple[tuple[int, int], Runs]] = {}
    for which in SOURCES:
        runs = one(book, which, model)
        for arm in dict.fromkeys(a for r in runs.all() for a in r["arms"]):
            having = runs.only([arm])
            worth = min(len(having.seeds), MIN_SEEDS), classes_of(having, arm)
            if "/" not in arm and worth > found.get(arm, ((0, 0), None))[0]:
                found[arm] = worth, having
    order = sorted(found, key=lambda arm: (arm in TRAINED, arm not in STANDARD))
    yield from ((arm, found[arm][1]) for arm in order)


def classes_of(runs: Runs, arm: str) -> int:
    """Over how many classes an arm's means are taken."""
    return runs.values(lambda r: r["arms"][arm]["forget_test"])[1]


def mean(runs: Runs, arm: str, key: str) -> float | None:
    """A measure of an arm: the mean over seeds of the mean over the classes that have
    it; None where no class has, as where relearning diverged."""
    values = runs.values(lambda r: r["arms"][arm][key])[0]
    return fmean(values) if values else None


def used(found: Sequence[tuple[str, Runs]]) -> list[Mapping]:
    """The records behind some arms, each once."""
    every = {id(r): r for _, runs in found for r in runs.all()}
    return list(every.values())


def frame(rows: Sequence[Sequence[str]], header: Sequence[str]) -> pd.DataFrame:
    """A frame of these rows; one that says so where nothing was run."""
    idle = [[NOT_RUN, *[""] * (len(header) - 1)]]
    return pd.DataFrame(rows or idle, columns=header)


@table
def signs(book: Book, model: str) -> Table:
    """Methods by four columns, each with a sign (see the ledger's claims on rivals) and
    what was measured, in per cent; of the others what they lost, in points."""
    return signed(list(arms(book, model)))


@table
def signs_in_short(book: Book, model: str) -> Table:
    """The same of each paper's method once: see ``once``."""
    return signed(once(list(arms(book, model))))


def signed(found: Sequence[tuple[str, Runs]]) -> Table:
    """A row for each of these arms."""
    rows = []
    for arm, runs in found:
        cells = []
        for column, key in SHOWN.items():
            if key is None:
                told = words.points(fmean(runs.values(kept(arm))[0]))
            else:
                value = mean(runs, arm, key)
                told = "" if value is None else words.fixed(100 * value, 1)
            mark = "" if arm in STANDARD else sign(runs, arm, column)
            cells.append(f"{told}{words.SPACE}{mark}".strip())
        rows.append([title(arm), *cells])
    header = ["method", *(HEADS.get(column, column) for column in SIGNS)]
    return Table(frame(rows, header), used(found), GRID, kind="signs")


def once(found: Sequence[tuple[str, Runs]]) -> list[tuple[str, Runs]]:
    """What a reader looks for first: the original, a retrained network and the mask;
    then each paper's method of one shot once, at its chosen setting where one is
    recorded, and the released settings that the page quotes. Parts of methods, second
    readings and what trains are left to the whole table. Those of too few seeds or
    classes for a verdict come last."""
    runs = dict(found)
    apart = {*STANDARD, *PARTS, *ANOTHER, *TRAINED, *BEGIN}
    shown = [
        arm for arm in runs
        if arm not in apart and (arm in RELEASED or arm + CHOSEN not in runs)
    ]  # fmt: skip
    shown.sort(key=lambda arm: not has_enough(runs[arm], arm))
    return [(arm, runs[arm]) for arm in (*BEGIN, *shown) if arm in runs]


@picture
def answers_and_features(book: Book, model: str) -> Picture:
    """What is known of the class after each method."""
    return drawn([(arm, runs) for arm, runs in arms(book, model) if arm not in PARTS])


@picture
def answers_and_features_in_short(book: Book, model: str) -> Picture:
    """The same of each paper's method once: see ``once``."""
    return drawn(once(list(arms(book, model))))


def drawn(found: Sequence[tuple[str, Runs]]) -> Picture:
    """The picture of these arms; marks of too few seeds or classes for a verdict are
    open."""
    known = {
        title(arm): {key: mean(runs, arm, key) for key in STILL_KNOWN}
        for arm, runs in found
    }
    data = pd.DataFrame(known).T.rename_axis("method").reset_index()
    few = {title(arm) for arm, runs in found if not has_enough(runs, arm)}
    return Picture(still_known(known, "", few), data.round(4), used(found), GRID)


def one_shot(book: Book, model: str) -> dict[str, Runs]:
    """The methods of one shot with their runs."""
    apart = (*STANDARD, *PARTS, *TRAINED)
    return {arm: runs for arm, runs in arms(book, model) if arm not in apart}


def plainly(arm: str) -> str:
    """A method's name for a list with commas: "SSD (chosen)"."""
    name, comma, rest = title(arm).rpartition(", ")
    return f"{name.replace(', ', ' ')} ({rest})" if comma else rest


@number
def methods_judged(book: Book, model: str) -> str:
    """The methods of one shot that have seeds of all classes enough, by name."""
    found = one_shot(book, model).items()
    names = [plainly(arm) for arm, runs in found if has_enough(runs, arm)]
    return ", ".join(names) or NOT_RUN


@number
def methods_of_few_seeds(book: Book, model: str) -> str:
    """The methods of one shot that have too few seeds of all classes for a verdict, by
    name."""
    found = one_shot(book, model).items()
    names = [plainly(arm) for arm, runs in found if not has_enough(runs, arm)]
    return ", ".join(names) or "none"


@number
def methods_absent(book: Book, model: str) -> str:
    """The methods of one shot that have runs on another network alone, by name."""
    known = dict.fromkeys(arm for name in NETWORKS for arm in one_shot(book, name))
    here = one_shot(book, model)
    return ", ".join(plainly(arm) for arm in known if arm not in here) or "none"


@number
def behind(book: Book, arm: str, model: str) -> str:
    """What stands behind a method's numbers: "2 of 10 classes and 1 seed"."""
    found = dict(arms(book, model)).get(arm)
    if found is None:
        return NOT_RUN
    values, classes = found.values(lambda r: r["arms"][arm]["forget_test"])
    every = len(CIFAR10_CLASSES)
    told = f"{classes} of {every}" if classes < every else f"all {every}"
    return f"{told} classes and {counted(len(values), 'seed')}"


@number
def forget_in_the_features(book: Book, model: str) -> str:
    """Which ways of one shot surely do and keep the others, of those with enough runs
    for a verdict: "none of 12", "1 of 12 (SSD)", "none of 12 (2 not sure)"."""
    asked = {
        title(arm): in_the_features(runs, arm)
        for arm, runs in one_shot(book, model).items()
        if has_enough(runs, arm)
    }
    if not asked:
        return NOT_RUN
    names = [name for name, holds in asked.items() if holds == YES]
    unsure = list(asked.values()).count(OPEN)
    more = names + ([f"{unsure} not sure"] if unsure else [])
    told = f"{len(names) or 'none'} of {len(asked)}"
    return f"{told} ({', '.join(more)})" if more else told
