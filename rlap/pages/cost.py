"""What runs cost: the bill of the records, what each arm takes, and the benchmarks.

Machines differ several-fold, so that times are compared within a run only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from statistics import median

import pandas as pd

from rlap.experiments.forgetting.account import title
from rlap.experiments.records import precision_of
from rlap.figures import GREY, WIDTH, drawing
from rlap.figures.run import BLUE, ORANGE
from rlap.files import paths
from rlap.ledger.cells import epoch_seconds
from rlap.ledger.claims.quantities import BETWEEN, seconds_between
from rlap.ledger.evidence import FORGETTING, NOTEBOOK
from rlap.ledger.paper import printed_saving
from rlap.ledger.verdicts import NOT_RUN
from rlap.pages import words
from rlap.pages.asked import Book, Picture, Table, number, picture, table

SHARED = ("original", "retraining")  # an earlier run may have trained the same network
# ways of counting what an arm takes, each with more of what it needs
COUNTED = ("an epoch", "its own training", "and what comes between",
           "and the initial training")  # fmt: skip
GRIDS = ("table*",)
# what `make bench` measured, with the machine, the commit and the load
BENCH = "BENCH.json"
SAMPLES, UNITS = "samples", "units"
STARTS = {"kmeans": "k-means", "total": "the total attribution"}


def alike(book: Book, *notebooks: str) -> dict[str, list[Mapping]]:
    """Runs whose times can be averaged: those of the named protocols, by protocol and
    network."""
    groups: dict[str, list[Mapping]] = {}
    for r in book.ledger.records:
        if r["notebook"] in notebooks and "+" not in r["protocol"]:
            asked = r["parameters"]
            model = asked["model"] + (
                f"-{asked['width']}" if asked.get("width") else ""
            )
            name = words.MODELS.get(model, model)
            groups.setdefault(f"{r['protocol']}, {name}", []).append(r)
    return dict(sorted(groups.items()))


def run_seconds(record: Mapping) -> float:
    """Seconds that a run took; of one without a clock of its own, those of all stages
    and arms."""
    taken = record["provenance"].get("wall_seconds")
    return taken or math.fsum(record["seconds"].values())


@table
def bill(book: Book) -> Table:
    """Hours of computing by notebook, device and precision."""
    found = pd.DataFrame(
        {
            "runs of": f"{r['notebook']}, {r['tier']} tier, {data_of(r)}",
            "device": f"{r['provenance']['device']}, {precision_of(r)}",
            "seconds": run_seconds(r),
        }
        for r in book.ledger.records
    )
    each = found.groupby(["runs of", "device"])["seconds"].agg(["size", "mean", "sum"])
    frame = each.reset_index()
    total = ["all", "", len(found), found["seconds"].mean(), found["seconds"].sum()]
    frame.loc[len(frame)] = total
    frame["mean"] = [words.fixed(v, 0) for v in frame["mean"]]
    frame["sum"] = [words.fixed(v / 3600, 2) for v in frame["sum"]]
    named = {"size": "runs", "mean": "seconds a run", "sum": "hours"}
    return Table(frame.rename(columns=named), book.ledger.records, ("*",))


def data_of(record: Mapping) -> str:
    """The data of a run, as the book calls them."""
    name = record["data"]["name"]
    return words.DATA.get(name, name)


@number
def hours(book: Book) -> str:
    """Hours that all records took."""
    return words.fixed(sum(map(run_seconds, book.ledger.records)) / 3600, 0)


def parts(record: Mapping, arm: str) -> dict[str, float]:
    """What ``arm`` needs in all, from nothing, as multiples of the initial training:
    that, what comes between (see ``BETWEEN``), and its own. The tests after each epoch
    are not counted."""
    one = record["arms"]["initial"]["seconds"]
    return {
        "initial training": 1.0,
        "between": seconds_between(record, arm) / one,
        "its own training": record["arms"][arm]["seconds"] / one,
    }


@picture
def arms_take(book: Book) -> Picture:
    """What each arm takes from nothing: medians over runs of the small network."""
    lines, used = [], []
    for place, runs in alike(book, NOTEBOOK).items():
        if not place.endswith("small network"):
            continue
        used += runs
        for arm in BETWEEN:
            each = [parts(r, arm) for r in runs if arm in r["arms"]]
            if each:
                middle = {k: median(p[k] for p in each) for k in each[0]}
                told = {"protocol": place.partition(",")[0], "arm": words.arm(arm)}
                lines.append(told | middle)
    data = pd.DataFrame(lines)
    protocols = list(dict.fromkeys(data["protocol"])) if len(data) else ["released"]
    size = {"figsize": (WIDTH, 0.7 + 1.1 * len(protocols)), "sharex": True,
            "squeeze": False}  # fmt: skip
    colours = {"initial training": GREY, "between": ORANGE, "its own training": BLUE}
    with drawing("", len(protocols), 1, **size) as (figure, axes):
        for ax, protocol in zip(axes[:, 0], protocols, strict=True):
            mine = data[data["protocol"] == protocol] if len(data) else data
            left = 0.0
            for name, colour in colours.items() if len(mine) else ():
                ax.barh(mine["arm"], mine[name], left=left, color=colour, label=name)
                left = left + mine[name].to_numpy()
            ax.invert_yaxis()
            ax.set_title(protocol, loc="left")
        axes[-1, 0].set_xlabel("multiples of the initial training")
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper right", ncols=3,
                      columnspacing=1, handlelength=1.5)  # fmt: skip
    return Picture(figure, data.round(4), used, GRIDS)


def of_retraining(record: Mapping, arm: str) -> dict[str, float | None]:
    """Seconds of ``arm`` as a share of retraining's, by ``COUNTED``."""
    arms = record["arms"]
    epoch, base = (epoch_seconds(arms[a]["history"]) for a in (arm, "retrain"))
    mine, theirs = (list(parts(record, a).values()) for a in (arm, "retrain"))
    # the sums leave out the first parts of ``parts``, as COUNTED is in its order
    shares = [epoch / base if epoch and base else None]
    shares += [sum(mine[k:]) / sum(theirs[k:]) for k in (2, 1, 0)]
    return dict(zip(COUNTED, shares, strict=True))


def share(runs: list[Mapping], arm: str, way: str) -> str:
    """The median over runs of an arm's time as a share of retraining's."""
    each = [of_retraining(r, arm)[way] for r in runs if arm in r["arms"]]
    known = [v for v in each if v is not None]
    return words.fixed(median(known), 2) if known else ""


@table
def ways_of_counting(book: Book) -> Table:
    """The time of L-FT and F-FT as a share of retraining's, counted in four ways; above
    them the paper's."""
    lines = [
        [
            f"the paper's Table 1: {arm}",
            words.fixed(1 - printed_saving(m), 2),
            "",
            "",
            "",
        ]
        for arm, m in (("L-FT", "l_ft"), ("F-FT", "f_ft"))
    ]
    used = []
    for place, runs in alike(book, NOTEBOOK).items():
        used += runs
        for arm in ("L-FT", "F-FT"):
            lines.append([f"{place}: {arm}", *(share(runs, arm, w) for w in COUNTED)])
    return Table(pd.DataFrame(lines, columns=["runs", *COUNTED]), used, GRIDS)


@number
def time_share(book: Book, arm: str, way: str, protocol: str = "released") -> str:
    """An arm's time as a share of retraining's, small network, in one of four ways."""
    if way not in COUNTED:
        raise LookupError(f"no way {way!r} of counting: {', '.join(COUNTED)}")
    runs = alike(book, NOTEBOOK).get(f"{protocol}, {words.NETWORKS['small']}", [])
    return share(runs, arm, way) or NOT_RUN


def seconds_until(record: Mapping, arm: str) -> float | None:
    """Seconds from nothing until an arm first tests as well as retraining at its end;
    None if it never does."""
    target = record["arms"]["retrain"]["history"]["test_accuracy"]
    history = record["arms"][arm]["history"]
    spent = history.get("setup_seconds", 0.0) + seconds_between(record, arm)
    if arm != "initial":
        spent += record["arms"]["initial"]["seconds"]
    curve = zip(history["seconds"], history["test_accuracy"], strict=False)
    for taken, accuracy in curve:
        spent += taken
        if target and accuracy >= target[-1]:
            return spent
    return None


@table
def time_to_accuracy(book: Book) -> Table:
    """Time from nothing until an arm reaches the accuracy that retraining ends with, as
    a multiple of what retraining took to get there: the median over runs."""
    lines, used = [], []
    arms = ("initial", *BETWEEN)
    for place, runs in alike(book, NOTEBOOK).items():
        used += runs
        cells = []
        for arm in arms:
            pairs = [(seconds_until(r, arm), seconds_until(r, "retrain"))
                     for r in runs if arm in r["arms"]]  # fmt: skip
            there = [took / own for took, own in pairs if took is not None and own]
            told = f"{len(there)} of {len(pairs)}"
            if there and len(there) == len(pairs):
                told = f"{words.fixed(median(there), 2)} ({told})"
            cells.append(told if pairs else "")
        lines.append([place, *cells])
    frame = pd.DataFrame(lines, columns=["runs", *map(words.arm, arms)])
    return Table(frame, used, GRIDS)


@table
def stages(book: Book, which: str) -> Table:
    """What each stage takes beside the first training of its run, which is 1: the
    median over runs."""
    notebooks = FORGETTING if which == "forgetting" else (NOTEBOOK,)
    groups = {p: [shares(r) for r in runs]
              for p, runs in alike(book, *notebooks).items()}  # fmt: skip
    names = dict.fromkeys(n for runs in groups.values() for s in runs for n in s)
    lines = []
    for name in names:
        found = [[s[name] for s in runs if name in s] for runs in groups.values()]
        shown = [words.fixed(median(f), 3) if f else "" for f in found]
        lines.append(
            [title(name) if which == "forgetting" else words.arm(name), *shown]
        )
    used = [r for r in book.ledger.records if r["notebook"] in notebooks]
    frame = pd.DataFrame(lines, columns=["stage or arm", *groups])
    return Table(frame, used, ("forgetting*" if which == "forgetting" else "table*",))


def shares(record: Mapping) -> dict[str, float]:
    """Stage -> its seconds as multiples of the first training's. Where a class is
    forgotten that is the arm's own time, whichever run trained the network."""
    taken = record["seconds"]
    own = record["arms"].get("original", {}).get("seconds")
    first = taken.get("initial", own)
    if not first:
        return {}
    kept = (name for name in taken if name.split(",")[0] not in SHARED)
    return {name: taken[name] / first for name in kept}


# --- benchmarks ---------------------------------------------------------------------


def measured(book: Book, what: str) -> dict:
    """The numbers of one benchmark; ``LookupError`` where there are none."""
    file = (book.folder or paths.results_folder()) / BENCH
    known = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    if what not in known:
        raise LookupError(f"no benchmark {what!r} was measured: make bench")
    return known[what]


@number
def measured_on(book: Book, what: str) -> str:
    """Machine, commit and load of a benchmark: each thing once."""
    return once(measured(book, what)["about"])


def once(text: str) -> str:
    """A list in words without what it has said before, "1 threads" as one thread.

    >>> once("2 cores, torch 2, load 1. 5 images, 1 threads, torch 2, medians of 3.")
    '2 cores, torch 2, load 1. 5 images, 1 thread, medians of 3.'
    """
    found: list[str] = []
    for part in text.split(", "):
        if part not in found:
            found.append(part)
    return re.sub(r"\b1 (\w+)s\b", r"1 \1", ", ".join(found))


@table
def peers(book: Book) -> Table:
    """The same work by other libraries: what theirs takes where ours takes 1."""
    rows = []
    for work, ours, theirs, ratio in measured(book, "peers")["rows"]:
        name, _, library = work.rpartition(": ")
        for start, said in STARTS.items():
            name = name.replace(f"mixture from {start}", f"mixture from {said}")
        told = [words.fixed(x, 3) for x in (ours, theirs)]
        rows.append([name, library, words.fixed(ratio, 1), *told])
    heads = ["the same work", "by", "takes, times ours", "ours, s", "theirs, s"]
    return Table(pd.DataFrame(rows, columns=heads))


@number
def steepest(book: Book, by: str) -> str:
    """The largest exponent of a stage's seconds in the number of samples or units."""
    found = measured(book, "scale")
    if by not in (SAMPLES, UNITS):
        raise LookupError(f"no size {by!r}: {SAMPLES} or {UNITS}")
    stages = found[by]["stages"].values()
    return words.fixed(max(stage["exponents"][0] for stage in stages), 1)


@picture
def scale(book: Book) -> Picture:
    """Seconds of each stage against samples and units, with exponents."""
    found, lines = measured(book, "scale"), []
    with drawing("", 2, 1, figsize=(WIDTH, 6.4)) as (figure, axes):
        for axis, by in zip(axes, (SAMPLES, UNITS), strict=True):
            sizes = found[by]["sizes"]
            for stage, told in found[by]["stages"].items():
                slope = words.fixed(told["exponents"][0], 1)
                axis.loglog(
                    sizes, told["seconds"], "o-", ms=4, label=f"{stage}: {slope}"
                )
                pairs = zip(sizes, told["seconds"], told["megabytes"], strict=True)
                lines += [[by, size, stage, *values] for size, *values in pairs]
            axis.set_xticks(sizes, [f"{n:,}" for n in sizes])
            axis.minorticks_off()
            axis.yaxis.set_major_formatter("{x:g}")  # no small exponents
            axis.set(xlabel=by, ylabel="seconds")
            axis.legend(title="stage: exponent", loc="lower left",
                        bbox_to_anchor=(0, 1), ncols=2)  # fmt: skip
    columns = ["against", "size", "stage", "seconds", "megabytes"]
    return Picture(figure, pd.DataFrame(lines, columns=columns))
