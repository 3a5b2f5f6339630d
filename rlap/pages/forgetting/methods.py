"""All methods that forget a class, of all notebooks together: four signs for each, what
the bias alone gives back, and which seed moves what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev

import pandas as pd

from rlap.data.images import CIFAR10_CLASSES
from rlap.experiments.forgetting.account import RELATIVE, title
from rlap.figures.forgetting import STILL_KNOWN, still_known
from rlap.ledger.claims.quantities import kept
from rlap.ledger.claims.rivals import SIGNS, bias_share, in_the_features, sign
from rlap.ledger.evidence import NPP, OSP, RIVALS, Quantity, Runs
from rlap.ledger.summary import counted
from rlap.ledger.verdicts import MIN_SEEDS, NOT_RUN
from rlap.pages import words
from rlap.pages.asked import Book, Picture, Table, number, picture, table
from rlap.pages.forgetting.papers import GRIDS, one

SOURCES = {"rivals": RIVALS, "npp": NPP, "osp": OSP}  # the first that has enough seeds
GRID = tuple(name for key in SOURCES for name in GRIDS[key])
# networks to compare with, and parts of a method
STANDARD = ("original", "retrained", "retrained again", "continued")
PARTS = ("damp_body", "damp_head", "lra_npp_target")
TRAINED = ("fine_tune", "neggrad_plus", "random_labels", "salun", "boundary_shrink",
           "scrub_chosen", "delete_chosen")  # fmt: skip
# what is shown of an arm beside its sign, in per cent; of the others what they lost
MUCH = 0.1  # of the class's accuracy
NETWORKS = ("small", "vgg")
HEADS = {"relearning": RELATIVE["relearn_fresh_head"]}
SHOWN = {
    "class outputs": "forget_test",
    "others kept": None,
    "probe": "probe_linear_forget",
    "relearning": "relearn_fresh_head",
}


def arms(book: Book, model: str) -> Iterator[tuple[str, Runs]]:
    """Every method's arm with the runs that have it: of the notebooks that ran it the
    first with as many seeds as a verdict needs, else the one with the most. One shot
    comes before what trains."""
    found: dict[str, tuple[int, Runs]] = {}
    for which in SOURCES:
        runs = one(book, which, model)
        for arm in dict.fromkeys(a for r in runs.all() for a in r["arms"]):
            having = runs.only([arm])
            enough = min(len(having.seeds), MIN_SEEDS)
            if "/" not in arm and enough > found.get(arm, (0, None))[0]:
                found[arm] = enough, having
    order = sorted(found, key=lambda arm: (arm in TRAINED, arm not in STANDARD))
    yield from ((arm, found[arm][1]) for arm in order)


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
    found, rows = list(arms(book, model)), []
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
    return Table(frame(rows, header), used(found), GRID)


@picture
def answers_and_features(book: Book, model: str) -> Picture:
    """What is known of the class after each method."""
    found = list(arms(book, model))
    known = {
        title(arm): {key: mean(runs, arm, key) for key in STILL_KNOWN}
        for arm, runs in found
        if arm not in PARTS
    }
    data = pd.DataFrame(known).T.rename_axis("method").reset_index()
    few = {title(arm) for arm, runs in found if len(runs.seeds) < MIN_SEEDS}
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
    """The methods of one shot that have seeds enough, by name."""
    found = one_shot(book, model).items()
    names = [plainly(a) for a, runs in found if len(runs.seeds) >= MIN_SEEDS]
    return ", ".join(names) or NOT_RUN


@number
def methods_of_few_seeds(book: Book, model: str) -> str:
    """The methods of one shot that have too few seeds for a verdict, by name."""
    found = one_shot(book, model).items()
    return ", ".join(plainly(a) for a, r in found if len(r.seeds) < MIN_SEEDS) or "none"


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
    _, classes = found.values(lambda r: r["arms"][arm]["forget_test"])
    every = len(CIFAR10_CLASSES)
    told = f"{classes} of {every}" if classes < every else f"all {every}"
    return f"{told} classes and {counted(len(found.seeds), 'seed')}"


@number
def forget_in_the_features(book: Book, model: str) -> str:
    """Which ways of one shot do and keep the others: "none of 12", "1 of 12 (SSD)"."""
    asked = {
        title(arm): in_the_features(runs, arm)
        for arm, runs in one_shot(book, model).items()
        if len(runs.seeds) >= MIN_SEEDS
    }
    names = [name for name, holds in asked.items() if holds]
    if not asked:
        return NOT_RUN
    told = f"{len(names)} of {len(asked)} ({', '.join(names)})"
    return told if names else f"none of {len(asked)}"


@number
def still_to_run(book: Book) -> str:
    """What the page has no runs for yet, in a sentence."""
    asked = {
        "the VGG-like network by all methods": (signs, "vgg"),
        "the small transformer": (signs, "vit"),
        "the bias fitted anew, small network": (given_back, "small"),
        "DAMP, ESC, SAP and the bias, VGG-like network": (given_back, "vgg"),
        "what DAMP takes from each layer": (depth, "small"),
        "how far each of the three seeds alone moves the results": (
            seeds_apart,
            "small",
        ),
    }
    names = [name for name, (of, model) in asked.items() if of(book, model).idle]
    if not names:
        return "Everything that this page asks has been run."
    return f"Still without runs: {'; '.join(names)}."


@table
def given_back(book: Book, model: str) -> Table:
    """What comes back of the class when the bias of its logit is fitted anew."""
    runs, rows = one(book, "rivals", model), []
    for arm in dict.fromkeys(a for r in runs.all() for a in r["bias"]):
        having = runs.only([arm])
        back = {
            key: fmean(having.values(lambda r, a=arm, k=key: r["bias"][a][k])[0])
            for key in ("forget", "retain", "auc")
        }
        share, _ = having.values(share_of_much(arm))
        change = back["retain"] - mean(having, arm, "retain_test")
        rows.append([
            title(arm),
            words.fixed(100 * mean(having, arm, "forget_test"), 1),
            words.fixed(100 * back["forget"], 1),
            words.fixed(100 * fmean(share), 0) if share and arm != "original" else "",
            words.points(change),
            words.fixed(back["auc"], 2),
        ])  # fmt: skip
    header = ["method", "class, %", "with the bias fitted, %", "of the loss, %",
              "others, points", "AUROC of the logit"]  # fmt: skip
    return Table(frame(rows, header), runs.all(), GRIDS["rivals"])


def share_of_much(arm: str) -> Quantity:
    """The share that the bias gives back, where the method took ``MUCH`` and more: of
    little a share says nothing."""
    share = bias_share(arm)

    def of(record: Mapping) -> float | None:
        if arm not in record["arms"]:
            return None
        lost = record["bias"]["original"]["forget"] - record["arms"][arm]["forget_test"]
        return share(record) if lost >= MUCH else None

    return of


@number
def by_the_bias(book: Book, arm: str, model: str) -> str:
    """The share of what a method took that the bias alone gives back: "61 %"."""
    share, _ = one(book, "rivals", model).values(share_of_much(arm))
    return words.percent(fmean(share), 0) if share else NOT_RUN


@table
def depth(book: Book, model: str) -> Table:
    """DAMP's scale by layer: the mean over classes, with half the interval over
    seeds."""
    runs = one(book, "rivals", model)
    layers = dict.fromkeys(name for r in runs.all() for name in r["depth"])
    rows = []
    for name in layers:
        values, _ = runs.values(lambda r, n=name: r["depth"][n]["scale"])
        rows.append([name, words.fixed(fmean(values), 2)])
    header = ["layer, the first first", "removed, 0 to 1"]
    return Table(frame(rows, header), runs.all(), GRIDS["rivals"])


@table
def seeds_apart(book: Book, model: str) -> Table:
    """How far results move when one seed moves and the others stay: the standard
    deviation over that seed, in points, mean over the methods."""
    rows, every = [], []
    for name, group in moved(book, model).items():
        every += group
        shared = set.intersection(*(set(r["arms"]) for r in group)) if group else set()
        names = [arm for arm in sorted(shared) if arm not in STANDARD]
        cells = [
            words.fixed(100 * fmean(apart), 1) if apart and len(group) >= MIN_SEEDS
            else ""
            for key in (*(k for k in SHOWN.values() if k), "retain_test")
            for apart in [spreads(group, names, key)]
        ]  # fmt: skip
        rows.append([name, str(len(group)), *cells])
    header = ["what moves", "runs", "class", "probe", HEADS["relearning"], "others"]
    return Table(frame(rows, header), every, GRIDS["rivals"])


def spreads(found: Sequence[Mapping], arms: Sequence[str], key: str) -> list[float]:
    """The standard deviation of a measure of each arm; of arms whose relearning
    diverged in none of the records."""
    table = ([r["arms"][arm][key] for r in found] for arm in arms)
    return [stdev(row) for row in table if len(row) > 1 and None not in row]


def moved(book: Book, model: str) -> dict[str, list[Mapping]]:
    """Runs that differ in one seed: of the data and networks, the methods, the judges;
    of the class that has runs with other seeds of the methods."""
    asked = ("forget_seed", "examine_seed")
    mine = [
        r for r in book.ledger.records
        if r["notebook"] == RIVALS and r["parameters"]["model"] == model
        and r["tier"] != "smoke" and not r["data"]["stand_in"]
    ]  # fmt: skip
    apart = [
        r for r in mine if any(r["parameters"][name] is not None for name in asked)
    ]
    if not apart:
        return {}
    label, seed = (apart[0]["parameters"][name] for name in ("forget", "seed"))
    mine = [r for r in mine if r["parameters"]["forget"] == label]
    plain = [r for r in mine if r not in apart]
    start = [r for r in plain if r["seed"] == seed]
    groups = {"data and networks": plain}
    for name, told in zip(asked, ("methods", "judges"), strict=True):
        own = [r for r in apart if r["parameters"][name] is not None]
        groups[told] = start + own
    return groups
