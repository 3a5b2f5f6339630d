"""What became of networks whose data were bad, by what was wrong and what was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from textwrap import fill

import pandas as pd

from rlap.corruption.label_noise import CIFAR10_PAIRS
from rlap.experiments.bad_data.parameters import BadDataParameters
from rlap.experiments.protocol import SPEECH
from rlap.figures import GREY, WIDTH, drawing
from rlap.figures.run import BLUE, GREEN, ORANGE
from rlap.ledger.aims import (
    CAME,
    HEADS,
    INPUTS,
    NETWORKS,
    ON,
    ONE,
    ORACLE,
    REPAIR,
    THRICE,
    counts,
    gain,
    seconds,
    wrong_labels,
)
from rlap.ledger.claims.noise import FAIR_AUROC
from rlap.ledger.summary import counted, interval
from rlap.ledger.verdicts import MIN_SEEDS, NOT_RUN
from rlap.pages import words
from rlap.pages.asked import Book, Picture, Table, number, picture, table
from rlap.pages.partition import PLACES

GRIDS = ("bad_data",)
THREE_TIMES = "continued training three times"
# as the book calls what records call otherwise
SAID = {ON: "continued training", THRICE: THREE_TIMES, ONE: "repair in one training"}
SAID |= {
    f"{chosen_by}, {how}": f"{by}: {then}"
    for chosen_by, by in (
        ("small loss", "small loss"),
        (HEADS, "cleanlab by heads"),
        (NETWORKS, "cleanlab by five networks"),
        ("truly clean part", "truly clean part"),
    )
    for how, then in (("retrained", "retrained"), ("trained on", "continued"))
}
SHOWN = {CAME: GREY, ON: ORANGE, REPAIR: BLUE, ORACLE: GREEN}
KINDS = {
    "symmetric_exclusive": "labels of any other class",
    "asymmetric": "labels of a similar class",
    "human_worst": "human labels, worst",
    "human_aggregate": "human labels, aggregate",
    "gaussian_clamped": "clamped noise",
    "gaussian": "noise",
    "black": "black images",
    "shuffled": "shuffled pixels",
    "foreign": "digits among the images",
    "clean": "nothing",
}
SCORES = {  # as records and as the book call them
    "rlap: label": "diagnose",
    "rlap: label, repaired": "diagnose after repair",
    "rlap: input": "diagnose for inputs",
    "loss": "loss",
    "neighbours": "neighbours",
    "area under the margin": "area under the margin",
    "the paper's mixture": "robustify's mixture",
    "cleanlab, heads": "out-of-fold heads",
    "cleanlab, networks": "out-of-fold networks",
}
# other than the small network and its images, by the word that a page asks with
OTHERS = {
    "": {},
    "speech": {"dataset": SPEECH},
    "resnet18": {"model": "resnet18", "width": 8},
}
NONE_BAD = "none is bad"  # where a score has nothing to tell
Runs = Sequence[Mapping]


def what(record: Mapping) -> str:
    """What was wrong in a run, in words: "labels of any other class, 40 %"."""
    asked = record["parameters"]
    told = KINDS[asked["kind"]]
    if record.get("tier", "small") != "small":
        told = f"{record['tier']} tier: {told}"
    if asked["rate"] is not None:
        told += f", {words.percent(asked['rate'], 0)}"
    if asked["kind"] == "asymmetric":
        told += f" of {len(CIFAR10_PAIRS)} classes"
    if asked["level"] is not None:
        told += f", level {asked['level']:g}"
    if asked["memorised"]:
        told += ", memorised"
    if asked["dataset"] != "cifar10":
        told = f"speech: {told}"
    if asked["model"] == "resnet18":
        told += f" (ResNet-18, {asked['width']} channels at first)"
    return told


def groups(book: Book) -> dict[str, Runs]:
    """The runs of each setting, real data alone, in the order of ``KINDS``."""
    found: dict[str, list[Mapping]] = {}
    order = list(KINDS)
    of = filter(counts, book.ledger.records)
    for r in sorted(of, key=lambda r: order.index(r["parameters"]["kind"])):
        found.setdefault(what(r), []).append(r)
    return found


def gains(runs: Runs, arm: str, base: str = CAME) -> list[float]:
    """Accuracy of an arm less another's, a run each that has both."""
    return [found for r in runs if (found := gain(arm, base)(r)) is not None]


@number
def repaired(book: Book, kind: str, arm: str = REPAIR, base: str = CAME) -> str:
    """Points that an arm gains over another with one kind of bad data; arms as the book
    calls them."""
    one, other = (recorded(book, name) for name in (arm, base))
    return mean_gain(group(book, kind), one, other) or NOT_RUN


def recorded(book: Book, arm: str) -> str:
    """What records call an arm that the book calls so; ``LookupError`` for none."""
    known = {name: name for runs in groups(book).values() for r in runs
             for name in r["arms"]}  # fmt: skip
    known |= {said: name for name, said in SAID.items()} | {REPAIR: REPAIR, CAME: CAME}
    if arm not in known:
        raise LookupError(f"no arm {arm!r} beside repair: {', '.join(known)}")
    return known[arm]


@number
def repair_leads(book: Book, over: str = "continued training", of: str = "") -> str:
    """In how many settings the mean gain of repair is above another arm's. ``of``:
    "labels" or "others", what is wrong there; or "surely": of the settings that have
    runs enough for a verdict, those whose interval is above zero."""
    if of not in ("", "labels", "others", "surely"):
        raise LookupError(f"of labels, others or surely, not {of!r}")
    base, found = recorded(book, over), []
    for runs in groups(book).values():
        if of in ("labels", "others") and wrong_labels(runs[0]) != (of == "labels"):
            continue
        own = gains(runs, REPAIR, base)
        if own and (of != "surely" or len(own) >= MIN_SEEDS):
            found.append(interval(own))
    ahead = [f.low > 0 if of == "surely" else f.mean > 0 for f in found]
    return f"{sum(ahead) or 'none'} of {len(found)}" if found else NOT_RUN


@number
def repair_cost(book: Book) -> str:
    """What repair takes in trainings: the median over runs."""
    took = [cost(r, REPAIR) for runs in groups(book).values() for r in runs]
    return words.fixed(median(took), 1) if took else NOT_RUN


@table
def repairs_in_short(book: Book) -> Table:
    """What continued training, once or three times, and repair gain in each setting,
    and what repair takes."""
    lines = [
        [f"{told} ({counted(len(runs), 'run')})", mean_gain(runs, ON),
         mean_gain(runs, THRICE), mean_gain(runs, REPAIR),
         words.fixed(median(cost(r, REPAIR) for r in runs), 1)]
        for told, runs in groups(book).items()
    ]  # fmt: skip
    columns = ["what is wrong", "continued training", "three times", "repair",
               "repair takes, trainings"]  # fmt: skip
    used = [r for runs in groups(book).values() for r in runs]
    return Table(pd.DataFrame(lines, columns=columns), used, GRIDS)


@number
def bad_inputs(book: Book, which: str) -> str:
    """The kinds of bad inputs that the diagnosis "found", by an AUROC of 0.7 or more in
    the mean over runs, or "missed"."""
    if which not in ("found", "missed"):
        raise LookupError(f"bad inputs are found or missed, not {which!r}")
    areas: dict[str, list[float]] = {}
    for told, runs in groups(book).items():
        found = [r["told"].get("rlap: input", {}).get("auroc") for r in runs
                 if r["parameters"]["kind"] in INPUTS]  # fmt: skip
        areas[told] = [area for area in found if area is not None]
    mean = {told: fmean(each) for told, each in areas.items() if each}
    chosen = [told for told, area in mean.items()
              if (area >= FAIR_AUROC) == (which == "found")]  # fmt: skip
    return "; ".join(chosen) or "none"


@number
def robustified(book: Book, kind: str, rule: str) -> str:
    """Points that ``robustify`` gains with a rule, or loses."""
    return mean_gain(group(book, kind), f"robustify, rule {rule}") or NOT_RUN


@number
def robustify_trains(book: Book, kind: str, rule: str) -> str:
    """How long and on which share of the samples ``robustify`` trains, in the mean."""
    arm = f"robustify, rule {rule}"
    found = [r for r in group(book, kind) if arm in r["arms"]]
    given = [r["bad"]["n_given"] for r in found]
    return trained([r["arms"][arm] for r in found], given)


def trained(arms: Runs, given: Sequence[int]) -> str:
    """Epochs of arms, and their samples as a share of the given ones."""
    if not arms:
        return NOT_RUN
    epochs = fmean(len(arm["history"]["seconds"]) for arm in arms)
    share = fmean(arm["samples"] / n for arm, n in zip(arms, given, strict=True))
    return f"{epochs:.0f} epochs on {words.percent(share, 0)} of the samples"


@number
def tuned_on_labels(book: Book) -> str:
    """The same of F-FT with 40 % wrong labels, controlled."""
    found = book.evidence.at("controlled", "small", PLACES["labels"]).values()
    given = [r["parameters"]["train_size"] for r in found]
    return trained([r["arms"]["F-FT"] for r in found], given)


def group(book: Book, kind: str) -> Runs:
    """The runs of the small network with a kind of bad data at its usual rate, that
    which an experiment takes by itself; of one of ``OTHERS`` with its name before the
    kind: "speech symmetric_exclusive"."""
    other, _, kind = kind.rpartition(" ")
    if kind not in KINDS or other not in OTHERS:
        raise LookupError(
            f"no kind {kind!r} of bad data, or {other!r} before it: {', '.join(KINDS)}"
        )
    usual = BadDataParameters(tier="small", kind=kind, **OTHERS[other]).resolved()
    return groups(book).get(what({"parameters": vars(usual)}), [])


def mean_gain(runs: Runs, arm: str, base: str = CAME) -> str:
    """The mean gain in points with its interval; "" where no run has the arm."""
    found = gains(runs, arm, base)
    return words.gap(interval(found)) if found else ""


@number
def repair_runs(book: Book) -> str:
    """How many runs there are."""
    return str(sum(map(len, groups(book).values())))


@picture
def repairs(book: Book) -> Picture:
    """Accuracy of four arms by what is wrong: a dot a run, a bar the mean of more."""
    lines = [
        {"what is wrong": told, "arm": SAID.get(arm, arm), "seed": r["seed"],
         "accuracy": 100 * r["arms"][arm]["accuracy"]}
        for told, runs in groups(book).items()
        for r in runs for arm in SHOWN if arm in r["arms"]
    ]  # fmt: skip
    data = pd.DataFrame(lines, columns=["what is wrong", "arm", "seed", "accuracy"])
    names = list(dict.fromkeys(data["what is wrong"]))
    with drawing("", figsize=(WIDTH, 0.9 + 0.45 * max(1, len(names)))) as (figure, ax):
        for shift, (arm, colour) in enumerate(SHOWN.items()):
            mine = data[data["arm"] == (said := SAID.get(arm, arm))]
            at = [names.index(n) + 0.18 * (shift - 1.5) for n in mine["what is wrong"]]
            ax.scatter(mine["accuracy"], at, s=14, color=colour, label=said, zorder=3)
            for i, name in enumerate(names):
                some = mine.loc[mine["what is wrong"] == name, "accuracy"]
                if len(some) > 1:  # a bar through one dot would say nothing
                    y = i + 0.18 * (shift - 1.5)
                    ax.plot([some.mean()] * 2, [y - 0.09, y + 0.09], color=colour, lw=2)
        ax.set_yticks(range(len(names)), [fill(name, 26) for name in names])
        ax.invert_yaxis()
        ax.set_xlabel("accuracy on clean test samples, %")
        ax.grid(axis="x", color=GREY, alpha=0.2)
        handles, labels = ax.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2)
    used = [r for runs in groups(book).values() for r in runs]
    return Picture(figure, data.round(4), used, GRIDS)


@table
def every_repair(book: Book) -> Table:
    """Every arm's gain and what it took, as a multiple of the first training."""
    lines = []
    for told, runs in groups(book).items():
        names = dict.fromkeys(arm for r in runs for arm in r["arms"] if arm != CAME)
        for arm in names:
            took = [cost(r, arm) for r in runs if arm in r["arms"]]
            best = max(
                fmean(gains(runs, a)) for a in names if not a.startswith("truly")
            )
            mine = mean_gain(runs, arm)
            if fmean(gains(runs, arm)) == best and not arm.startswith("truly"):
                mine += " (best)"
            took = words.fixed(median(took), 2)
            lines.append([told, SAID.get(arm, arm), mine, took])
    columns = ["what is wrong", "what is done", "gain, points", "trainings"]
    used = [r for runs in groups(book).values() for r in runs]
    return Table(pd.DataFrame(lines, columns=columns), used, GRIDS)


def cost(record: Mapping, arm: str) -> float:
    """Seconds of an arm, from the network as it came, as multiples of one training with
    the run's recipe: what it selects by is counted, too."""
    return seconds(record, arm) / record["seconds"][ON]


@table
def told_apart(book: Book) -> Table:
    """How many samples are bad, how many were said to be, of the other kind too, and
    how well they are told."""
    lines = []
    for told, runs in groups(book).items():
        rate, other, score = "label rate", "input rate", "rlap: label"
        if runs[0]["parameters"]["kind"] in INPUTS:
            rate, other, score = other, rate, "rlap: input"
        scores = [r["told"][score] for r in runs if score in r["told"]]
        lines.append([
            told,
            words.percent(fmean(r["bad"]["rate"] for r in runs)),
            share_told([r["diagnosis"][rate] for r in runs]),
            words.percent(fmean(r["diagnosis"][other][0] for r in runs)),
            words.spread([s["auroc"] for s in scores]) or NONE_BAD,
        ])  # fmt: skip
    columns = ["what is wrong", "bad", "said to be bad", "said of the other kind",
               "AUROC"]  # fmt: skip
    used = [r for runs in groups(book).values() for r in runs]
    return Table(pd.DataFrame(lines, columns=columns), used, GRIDS)


def share_told(found: Sequence[Sequence[float]]) -> str:
    """The mean of shares that were said, and of the ends of their intervals:
    "19.9 % [0.9, 30.1]"."""
    mean, low, high = (
        words.fixed(100 * fmean(each), 1) for each in zip(*found, strict=True)
    )
    return f"{mean}{words.SPACE}% [{low}, {high}]"


@number
def diagnose_over_cleanlab(book: Book) -> str:
    """The seconds of ``diagnose`` over those of cleanlab by heads: the median over runs
    that have both."""
    taken = [r["seconds"] for runs in groups(book).values() for r in runs]
    found = [s["diagnose"] / s[HEADS] for s in taken if {"diagnose", HEADS} <= set(s)]
    return words.fixed(median(found), 1) if found else NOT_RUN


@table
def detectors(book: Book) -> Table:
    """How well each score tells bad samples: the AUROC, and the calibration error of
    those that are probabilities."""
    lines = []
    for told, runs in groups(book).items():
        for name, shown in SCORES.items():
            found = [r["told"][name] for r in runs if name in r["told"]]
            if not found:
                continue
            calibrated = [f["calibration error"] for f in found
                          if "calibration error" in f]  # fmt: skip
            if not name.startswith("rlap"):
                calibrated = []  # a score of another scale: the error says nothing
            area = words.spread([f["auroc"] for f in found])
            lines.append([told, shown, area, words.spread(calibrated)])
    columns = ["what is wrong", "score", "AUROC", "calibration error"]
    used = [r for runs in groups(book).values() for r in runs]
    return Table(pd.DataFrame(lines, columns=columns), used, GRIDS)


@number
def told_by(book: Book, kind: str, score: str) -> str:
    """The AUROC of a score, as the book calls it, with one kind of bad data."""
    known = {said: name for name, said in SCORES.items()}
    if score not in known:
        raise LookupError(f"no score {score!r}: {', '.join(known)}")
    runs = [r["told"] for r in group(book, kind)]
    found = [told[known[score]]["auroc"] for told in runs if known[score] in told]
    return words.spread(found) or NOT_RUN
