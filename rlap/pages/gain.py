"""Where the gain comes from: the walk between protocols, longer training, what the
partition did, and every arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from statistics import fmean

import pandas as pd

from rlap.experiments.protocol import PROTOCOLS, steps
from rlap.figures import GREY, WIDTH, drawing
from rlap.figures.run import BLUE, GREEN, ORANGE, PURPLE
from rlap.ledger.cells import headline
from rlap.ledger.claims.noise import FAIR_AUROC
from rlap.ledger.claims.quantities import accuracy, auroc
from rlap.ledger.summary import interval, standard_error
from rlap.ledger.verdicts import (
    ALPHA,
    MIN_SEEDS,
    NOT_RUN,
    holm,
    p_value,
)
from rlap.pages import words
from rlap.pages.asked import (
    Book,
    Explorer,
    Picture,
    Table,
    explorer,
    number,
    picture,
    table,
)
from rlap.pages.differences import alone
from rlap.pages.headline import COLOUR, RIVALS, beside_rivals

ENDS = ("released", "controlled")
WALKED = ("initial", "L-FT", "F-FT", "retrain")


# --- from the released protocol to the controlled one, a field at a time ----------


def walk(book: Book, scale: str = "small") -> list[dict]:
    """Each step's field and its records by seed.

    All steps speak of the same seeds: those of every step that has enough of them.
    One with fewer counts as not run.
    """
    names = list(steps(*ENDS, headline().dataset))
    runs = [book.evidence.at(name, scale, headline()) for name, _ in names]
    whole = [set(here) for here in runs if len(here) >= MIN_SEEDS]
    seeds = sorted(set.intersection(*whole)) if whole else []
    return [
        {"field": field or "released",
         "records": [here[s] for s in seeds] if set(seeds) <= set(here) else []}
        for (_, field), here in zip(names, runs, strict=True)
    ]  # fmt: skip


def moved(book: Book, arm: str, other: str = "") -> dict[str, list[float]]:
    """Field -> by how much it moved an arm, or its gap to another, by seed."""
    found: dict[str, list[float]] = {}
    before: list[float] = []
    for step in walk(book):
        here = [accuracy(r, arm) for r in step["records"]]
        if other:
            theirs = [accuracy(r, other) for r in step["records"]]
            here = [a - b for a, b in zip(here, theirs, strict=True)]
        if len(before) > 1 and here:
            change = [a - b for a, b in zip(here, before, strict=True)]
            found[step["field"]] = change
        before = here
    return found


@number
def step(book: Book, arm: str, other: str = "") -> str:
    """The step of the walk that moves an arm most, or its gap to another: of those that
    differ from zero after Holm's correction over all steps that ran."""
    changes = moved(book, arm, other)
    if not changes:
        return NOT_RUN
    found = {field: interval(change) for field, change in changes.items()}
    ps = [p_value(found[f].mean, standard_error(c), len(c)) for f, c in changes.items()]
    sure = [f for f, p in zip(changes, holm(ps), strict=True) if p <= ALPHA]
    if not sure:
        return "none is sure"
    field = max(sure, key=lambda name: abs(found[name].mean))
    return f"{words.change(field)} ({words.gap(found[field])} points)"


@number
def walked_alone(book: Book) -> str:
    """The fields of the walk that were also changed alone at the headline."""
    walked = [at["field"] for at in walk(book)]
    single = {e.what.partition("=")[0] for e in alone(book)}
    return ", ".join(words.change(f) for f in walked if f in single) or NOT_RUN


@table
def walk_steps(book: Book) -> Table:
    """The steps of the walk: what each changes, paired by seed, beside what its
    partitions found (in brackets where the noisy part was kept)."""
    changes = {arm: moved(book, arm) for arm in WALKED}
    lines, used = [], []
    for at in walk(book):
        used += at["records"]
        told = ", ".join(map(partition_told, at["records"])) or NOT_RUN
        row = {"changed": words.change(at["field"]), "AUROC by seed": told}
        for arm in WALKED:
            values = [accuracy(r, arm) for r in at["records"]]
            mean = words.fixed(100 * fmean(values), 1) if values else ""
            change = changes[arm].get(at["field"])
            told = f" ({words.gap(interval(change))})" if change else ""
            row[f"{words.arm(arm)}, %"] = mean + told
        lines.append(row)
    return Table(pd.DataFrame(lines), used, ("waterfall",), "wide")


def partition_told(record: Mapping) -> str:
    """A partition's AUROC; in brackets where the noisy part was kept."""
    area = words.fixed(auroc(record), 2)
    return area if record["partition"]["oriented_right"] else f"({area})"


@picture
def waterfall(book: Book) -> Picture:
    """Both arms at each step of the walk, and how their gap moves."""
    lines, used = [], []
    for at in walk(book):
        used += at["records"]
        ends = {a: [accuracy(r, a) for r in at["records"]] for a in ("F-FT", "retrain")}
        gaps = [a - b for a, b in zip(*ends.values(), strict=True)]
        line = {"changed": at["field"]}
        if gaps:
            found = interval(gaps)
            line |= {arm: 100 * fmean(v) for arm, v in ends.items()}
            line |= {"gap": 100 * found.mean, "low": 100 * found.low,
                     "high": 100 * found.high}  # fmt: skip
        lines.append(line)
    data = pd.DataFrame(lines)
    size = {"figsize": (WIDTH, 0.3 * len(data) + 1.2), "sharey": True}
    with drawing("", 1, 2, **size) as (figure, (left, right)):
        before = None
        for i, at in data.iterrows():
            if "gap" not in data or pd.isna(at["gap"]):
                right.text(0, i, NOT_RUN, va="center", ha="center")
                before = None  # what follows is not the worth of one field
                continue
            left.plot([at["retrain"], at["F-FT"]], [i, i], color=GREY, lw=1)
            for arm, colour in (("retrain", ORANGE), ("F-FT", BLUE)):
                left.plot(at[arm], i, "o", color=colour, ms=5,
                          label=words.arm(arm) if i == 0 else None)  # fmt: skip
            start = 0.0 if before is None else before
            up = GREEN if at["gap"] >= start else PURPLE
            colour = GREY if before is None else up
            right.barh(i, at["gap"] - start, left=start, height=0.5, color=colour)
            right.plot([at["low"], at["high"]], [i, i], color=GREY, lw=1.2)
            before = at["gap"]
        right.axvline(0, color=GREY, lw=0.8)
        left.set_yticks(range(len(data)), map(words.change, data["changed"]))
        left.invert_yaxis()
        left.set(xlabel="accuracy, %")
        right.set(xlabel="F-FT minus\nretraining, points")
        figure.legend(loc="outside upper left", ncols=2)
    return Picture(figure, data.round(4), used, ("waterfall",))


@explorer
def walk_by_step(book: Book) -> Explorer:
    """A step of the walk -> the accuracy of each arm, beside the step before."""
    lines, used, before = [], [], {}
    for i, at in enumerate(walk(book)):
        used += at["records"]
        here = {arm: 100 * fmean(accuracy(r, arm) for r in at["records"])
                for arm in WALKED if at["records"]}  # fmt: skip
        step = f"{i}. {words.change(at['field'])}" if i else "0. as released"
        lines += [(step, words.arm(arm), value, before.get(arm))
                  for arm, value in here.items()]  # fmt: skip
        before = here
    frame = pd.DataFrame(lines, columns=["changed", "what", "value", "beside"])
    return Explorer(("changed",), frame, used, ("waterfall",))


# --- more epochs ------------------------------------------------------------------


def longer_scales(book: Book) -> list[tuple[str, str]]:
    """Where the small network was trained as long as its tier says, or longer."""
    counted_in = ("epochs", "finetune_epochs")
    return [
        (protocol, scale)
        for protocol, scale in book.evidence.files
        if protocol in ENDS and scale.split("+")[0] == "small"
        and all(c.split("=")[0] in counted_in for c in scale.split("+")[1:])
    ]  # fmt: skip


def by_epochs(book: Book, arms: Sequence[str]) -> pd.DataFrame:
    """The small network trained as long as its tier says, and longer: a row a run and
    arm."""
    lines = [
        {"protocol": protocol, "epochs": run["parameters"]["epochs"],
         "seed": run["seed"], "arm": words.arm(arm),
         "accuracy": 100 * accuracy(run, arm)}
        for protocol, scale in longer_scales(book)
        for run in book.records(protocol, scale)
        for arm in arms
        if arm in run["arms"]
    ]  # fmt: skip
    names = ["protocol", "epochs", "seed", "arm", "accuracy"]
    return pd.DataFrame(lines, columns=names).sort_values(names[:3])


@picture
def over_epochs(book: Book) -> Picture:
    """Accuracy of four arms against the epochs of training."""
    import seaborn

    arms = ("initial", "F-FT", "continue", "retrain")
    data = by_epochs(book, arms)
    names = list(map(words.arm, arms))
    colours = dict(zip(names, (GREY, BLUE, GREEN, ORANGE), strict=True))
    beside = {name: 2 ** (0.08 * (i - 1.5)) for i, name in enumerate(names)}
    placed = data.assign(at=data["epochs"] * data["arm"].map(beside))
    with drawing("", 2, 1, figsize=(WIDTH, 4.6), sharex=True) as (figure, axes):
        for ax, protocol in zip(axes, ENDS, strict=True):
            mine = placed[placed["protocol"] == protocol]
            common = {"x": "at", "y": "accuracy", "hue": "arm", "palette": colours,
                      "hue_order": names, "ax": ax, "legend": False}  # fmt: skip
            if len(mine):
                seaborn.lineplot(mine, errorbar=None, **common)
                seaborn.scatterplot(mine, s=18, **common)
            ax.set_xscale("log", base=2)
            ticks = sorted(data["epochs"].unique())
            ax.set_xticks(ticks, [str(n) for n in ticks])
            ax.set(title=protocol, xlabel="epochs of training", ylabel="accuracy, %")
        handles = [axes[0].plot([], [], color=c, lw=2, label=n)[0]
                   for n, c in colours.items()]  # fmt: skip
        figure.legend(handles=handles, loc="outside upper center", ncols=2)
    used = [r for p, s in longer_scales(book) for r in book.records(p, s)]
    return Picture(figure, data.round(4), used, ("epochs", "table1"))


@number
def longer(book: Book, arm: str, other: str, protocol: str, epochs: str) -> str:
    """One arm minus another after so many epochs, in points."""
    found = by_epochs(book, (arm, other))
    mine = found[(found["protocol"] == protocol) & (found["epochs"] == int(epochs))]
    if mine.empty:
        raise LookupError(f"nothing was trained for {epochs} epochs in {protocol!r}")
    wide = mine.pivot(index="seed", columns="arm", values="accuracy")
    gaps = (wide[words.arm(arm)] - wide[words.arm(other)]).dropna()
    return words.gap(interval([g / 100 for g in gaps]))


# --- by what the partition did ----------------------------------------------------

MISSED, KEPT_CLEAN, KEPT_NOISY = (
    "noise not found",
    "found, clean part kept",
    "found, noisy part kept",
)


def outcomes(book: Book) -> pd.DataFrame:
    """``beside_rivals`` with whether the noise was found, and which part was kept."""
    data = beside_rivals(book)
    kept = data["clean kept"].map({True: KEPT_CLEAN, False: KEPT_NOISY})
    data["the partition"] = kept.where(data["auroc"] >= FAIR_AUROC, MISSED)
    return data


def from_kmeans(book: Book) -> pd.DataFrame:
    """``outcomes`` of the named protocols alone."""
    data = outcomes(book)
    return data[data["start"] == "k-means"]


@table
def by_outcome(book: Book) -> Table:
    """F-FT minus its rivals by what the partition did: mean and range over the runs
    whose mixture starts from k-means."""
    data, lines = from_kmeans(book), []
    for protocol, name in product(PROTOCOLS, (MISSED, KEPT_NOISY, KEPT_CLEAN)):
        mine = data[(data["protocol"] == protocol) & (data["the partition"] == name)]
        if len(mine):
            told = [f"{signed_spread(mine[o])}" for o in RIVALS]
            lines.append([protocol, name, *told, len(mine)])
    header = ["protocol", "the partition", *(f"minus {words.arm(o)}" for o in RIVALS)]
    used = [r for r in book.evidence if r["identity"]["id"] in set(data["run"])]
    frame = pd.DataFrame(lines, columns=[*header, "runs"])
    return Table(frame, used, ("table*", "differences"))


@number
def by_found(book: Book, protocol: str, found: str, other: str = "retrain") -> str:
    """F-FT minus a rival, mean points over the runs of a protocol, k-means its start,
    whose partition "found" the noise (and kept the "clean part"), or "missed" it;
    ``LookupError`` where none is."""
    data = from_kmeans(book)
    names = {"missed": [MISSED], "found": [KEPT_NOISY, KEPT_CLEAN],
             "clean part": [KEPT_CLEAN]}  # fmt: skip
    if found not in names or other not in RIVALS:
        told = f"{', '.join(names)}; {', '.join(RIVALS)}"
        raise LookupError(f"{found!r}, {other!r}: there is {told}")
    mine = data[data["the partition"].isin(names[found])]
    mine = mine[mine["protocol"] == protocol]
    if mine.empty:
        raise LookupError(f"no run of {protocol!r} {found} the noise")
    return words.fixed(fmean(mine[other]), 1, sign=True)


def signed_spread(values: Sequence[float]) -> str:
    """Mean and range of points, with signs."""
    mean, low, high = (words.fixed(v, 1, sign=True)
                       for v in (fmean(values), min(values), max(values)))  # fmt: skip
    return f"{mean} ({low} to {high})" if low != high else mean


# start of the mixture, its mark and the mark's size
STARTS_SHOWN = (("k-means", "o", 20), ("total attribution", "x", 34))


@picture
def by_partition(book: Book) -> Picture:
    """F-FT minus its rivals against how well the partition found the noise."""
    data = outcomes(book)
    data["right"] = 100 * data["right"]
    size = {"figsize": (WIDTH, 6.4), "sharex": True, "sharey": True}
    with drawing("", len(PROTOCOLS), 2, **size) as (figure, axes):
        for (i, protocol), (j, other) in product(enumerate(PROTOCOLS),
                                                 enumerate(RIVALS)):  # fmt: skip
            ax = axes[i, j]
            mine = data[data["protocol"] == protocol]
            for start, mark, size in STARTS_SHOWN:
                some = mine[mine["start"] == start]
                ax.scatter(some["right"], some[other], s=size, marker=mark, alpha=0.8,
                           color=COLOUR[protocol] if mark == "o" else GREY,
                           linewidths=0 if mark == "o" else 1.2)  # fmt: skip
            ax.axhline(0, color=GREY, lw=0.8)
            rival = f"F-FT minus\n{words.arm(other)}\n" * (i == 0)
            ax.set(title=rival + protocol, ylabel="points" * (j == 0))
        for ax in axes[-1]:
            ax.set_xlabel("samples put on their\nright side, %")
    used = [r for r in book.evidence if r["identity"]["id"] in set(data["run"])]
    return Picture(figure, data.round(4), used, ("table*", "differences"))


SORTED = [False, True, True, True]  # the largest size first, as the paper has it


@table
def orientation(book: Book) -> Table:
    """A line a released run that found the noise: which part it kept, and F-FT minus
    the network that it starts from."""
    data = outcomes(book)
    mine = data[(data["protocol"] == "released") & (data["the partition"] != MISSED)]
    mine = mine.sort_values(["images", "level", "rate", "seed"], ascending=SORTED)
    runs = {r["identity"]["id"]: r for r in book.evidence}
    frame = pd.DataFrame(
        {
            "setting": [f"{n:,} images, level {level:g}, "
                        f"{words.percent(rate, 0)} noisy, seed {s}"
                        for n, level, rate, s in zip(mine["images"], mine["level"],
                                                     mine["rate"], mine["seed"],
                                                     strict=True)],
            "AUROC": [words.fixed(v, 2) for v in mine["auroc"]],
            "part kept": mine["clean kept"].map({True: "clean", False: "noisy"}),
            "F-FT minus initial network": [
                words.points(accuracy(runs[i], "F-FT") - accuracy(runs[i], "initial"))
                for i in mine["run"]],
            "minus retraining": [words.fixed(v, 1, sign=True) for v in mine["retrain"]],
        }
    )  # fmt: skip
    return Table(frame, [runs[i] for i in mine["run"]], ("table*",))


# --- every arm --------------------------------------------------------------------


@table
def every_arm(book: Book, scale: str = "small") -> Table:
    """Every arm that ran at the headline: accuracy with its interval."""
    places = [p for p in PROTOCOLS if book.records(p, scale)]
    runs = {p: book.records(p, scale) for p in places}
    arms = dict.fromkeys(a for found in runs.values() for r in found for a in r["arms"])
    lines = []
    for arm in arms:
        row = {"arm": words.arm(arm)}
        for protocol in places:
            values = [accuracy(r, arm) for r in runs[protocol] if arm in r["arms"]]
            row[f"{protocol}, %"] = words.accuracy(interval(values)) if values else ""
        lines.append(row)
    return Table(
        pd.DataFrame(lines), [r for f in runs.values() for r in f], ("table1",)
    )


SCRATCH = ("initial", "retrain", "oracle")  # how arms that start anew are called
COMPARED = ("initial", "F-FT", "F-FT/clean subset", "F-FT/random subset", "continue",
            "initial decayed", "retrain", "retrain decayed")  # fmt: skip


@table
def budgets(book: Book, protocol: str) -> Table:
    """How much each arm trains: samples times epochs, alone and with the initial
    training that it starts from."""
    lines, runs = [], book.records(protocol)
    for arm in COMPARED:
        own = [r for r in runs if "history" in r["arms"].get(arm, {})]
        if own:
            samples = fmean(r["arms"][arm]["samples"] for r in own)
            alone, whole = (fmean(seen(r, arm, w) for r in own) for w in (False, True))
            lines.append([words.arm(arm), f"{samples:,.0f}", f"{alone / samples:.0f}",
                          f"{alone:,.0f}", f"{whole:,.0f}"])  # fmt: skip
    header = ["arm", "images", "epochs", "images seen", "with the initial training"]
    return Table(pd.DataFrame(lines, columns=header), runs, ("table1",))


def seen(record: Mapping, arm: str, whole: bool) -> int:
    """Samples times epochs of an arm, and with ``whole`` of the initial training, where
    it starts from that."""
    own = record["arms"][arm]
    found = own["samples"] * len(own["history"]["seconds"])
    goes_on = whole and not arm.startswith(SCRATCH)
    return found + (seen(record, "initial", False) if goes_on else 0)
