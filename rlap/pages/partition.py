"""Does the partition find the noise, which part is kept, and where the fit starts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import pandas as pd

from rlap.experiments.protocol import CIFAR10, PROTOCOLS, SPEECH, changed_name
from rlap.figures import GREY, WIDTH, drawing
from rlap.figures.run import BLUE, GREEN, ORANGE, PURPLE
from rlap.ledger.cells import CLAMPED, FULL, Setting, headline
from rlap.ledger.claims.noise import LEVELS, RATES, SIZES
from rlap.ledger.claims.quantities import gap
from rlap.ledger.summary import interval
from rlap.ledger.verdicts import NOT_RUN
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
from rlap.partition import STARTS

WHICHEVER = "partition"  # its AUROC whichever part is called good
SCORES = (WHICHEVER, "low confidence", "loss", "low total attribution",
          "values at 0 or 1")  # fmt: skip
COLOURS = dict(zip(SCORES, (BLUE, ORANGE, GREEN, PURPLE, GREY), strict=True))
MOVED = {"start": "total"}
STARTED = {"kmeans": "k-means, as released", "total": "halves of the total attribution"}
TABLE_5 = 4.5  # the noise level of that table, which it does not name
GRIDS = ("table*", "labels")
SMALL = "small"

# what varies -> the settings by how the axis calls them
AXES: dict[str, dict[str, Setting]] = {
    "noise level": {
        f"{level:g}": Setting(CIFAR10, CLAMPED, 0.5, level, FULL)
        for level in sorted({*LEVELS, TABLE_5})
    },
    "share of noisy images (level 2)": {
        f"{rate:g}": Setting(CIFAR10, CLAMPED, rate, 2.0, FULL) for rate in RATES
    },
    "training images (level 8)": {
        words.images(s, SMALL).partition(" ")[0]: s
        for s in (Setting(CIFAR10, CLAMPED, 0.5, 8.0, size) for size in sorted(SIZES))
    },
    "other": {
        "labels": Setting(CIFAR10, "symmetric_exclusive", 0.4, None, FULL),
        "speech": headline(SPEECH),
    },
}  # fmt: skip
PLACES = {**AXES["noise level"], **AXES["other"]}


def areas(record: Mapping) -> dict[str, float]:
    """AUROC of each score as a detector of the noise.

    The partition's is taken whichever part is called good: that rule is judged by
    itself. So chance is a little above one half for it.
    """
    found = {name: area[0] for name, area in record["partition"]["auroc"].items()}
    found[WHICHEVER] = max(found[WHICHEVER], 1 - found[WHICHEVER])
    return {name: value for name, value in found.items() if not math.isnan(value)}


def detectors(book: Book, protocol: str, scale: str = SMALL) -> pd.DataFrame:
    """A row a run and score: what varies, where, and the AUROC."""
    return pd.DataFrame(
        [
            {"axis": axis, "at": at, "seed": seed, "score": score, "AUROC": value}
            for axis, places in AXES.items()
            for at, setting in places.items()
            for seed, run in book.evidence.at(protocol, scale, setting).items()
            for score, value in areas(run).items()
            if score in SCORES
        ],
        columns=["axis", "at", "seed", "score", "AUROC"],
    )


@number
def auroc(book: Book, place: str, score: str, protocol: str = "controlled") -> str:
    """Mean AUROC of a score at a noise level, of wrong labels or of speech."""
    if place not in PLACES or score not in SCORES:
        names = f"{', '.join(PLACES)}; {', '.join(SCORES)}"
        raise LookupError(f"no AUROC of {score!r} at {place!r}: there is {names}")
    runs = book.evidence.at(protocol, SMALL, PLACES[place]).values()
    found = [areas(r)[score] for r in runs if score in areas(r)]
    return words.fixed(sum(found) / len(found), 2) if found else NOT_RUN


@picture
def detection(book: Book, protocol: str) -> Picture:
    """AUROC of five detectors by noise level, share, size and kind: a line joins the
    means over seeds."""
    import seaborn

    data = detectors(book, protocol)
    size = {"figsize": (WIDTH, 5.2), "sharey": True}
    size["gridspec_kw"] = {"width_ratios": (1.4, 1)}
    with drawing("", 2, 2, **size) as (figure, axes):
        for ax, (axis, places) in zip(axes.flat, AXES.items(), strict=True):
            mine = data[data["axis"] == axis].copy()
            mine["at"] = pd.Categorical(mine["at"], list(places), ordered=True)
            common = {"x": "at", "y": "AUROC", "hue": "score", "palette": COLOURS,
                      "hue_order": SCORES, "ax": ax, "legend": False}  # fmt: skip
            if axis != "other" and len(mine):
                seaborn.lineplot(mine, errorbar=None, **common)
            seaborn.stripplot(mine, size=3, jitter=False,
                              dodge=axis == "other", **common)  # fmt: skip
            ax.axhline(0.5, color=GREY, lw=0.7, ls=":")
            told = {"other": f"40{words.SPACE}% wrong labels;\nnoise on speech"}
            ax.set(xlabel=told.get(axis, axis.replace(" (", "\n(")), ylim=(0.3, 1.03),
                   xlim=(-0.5, len(places) - 0.5))  # fmt: skip
        handles = [figure.axes[0].plot([], [], color=c, lw=2, label=s)[0]
                   for s, c in COLOURS.items()]  # fmt: skip
        figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return Picture(figure, data, book.evidence.runs(protocol, SMALL).all(), GRIDS)


@table
def kept_part(book: Book) -> Table:
    """A line a setting: how pure the high-quality subset was."""
    lines = []
    for setting, protocol, runs in settings(book):
        found = [r["partition"]["detection"] for r in runs]
        right = sum(r["partition"]["oriented_right"] for r in runs)
        lines.append(
            [
                words.setting(setting, SMALL),
                protocol,
                words.spread([areas(r)[WHICHEVER] for r in runs]),
                f"{right} of {len(runs)}",
                words.spread([d["purity"] for d in found], 0, 100),
            ]
        )
    header = ["setting", "protocol", "AUROC", "kept the purer part",
              "of the kept part clean, %"]  # fmt: skip
    used = [r for r in book.evidence if r["tier"] == SMALL]
    return Table(pd.DataFrame(lines, columns=header), used, GRIDS)


def settings(book: Book) -> list[tuple[Setting, str, list[Mapping]]]:
    """Each setting of the axes in each named protocol that was run, with its runs."""
    every = dict.fromkeys(s for places in AXES.values() for s in places.values())
    found = [(s, p, list(book.evidence.at(p, SMALL, s).values()))
             for s in every for p in PROTOCOLS]  # fmt: skip
    return [entry for entry in found if entry[2]]


# --- where the fit of the mixture starts ------------------------------------------


@table
def starts(book: Book) -> Table:
    """What the mixture finds from either start, by the same networks."""
    lines, used = [], []
    for setting, protocol, runs in settings(book):
        noted = {r["seed"]: r for r in runs if "starts" in r["partition"]}
        moved = book.evidence.at(changed_name(protocol, MOVED), SMALL, setting)
        noted |= {s: r for s, r in moved.items() if "starts" in r["partition"]}
        used += noted.values()
        for start in STARTS if noted else ():
            every = [r["partition"]["starts"][start] for r in noted.values()]
            found = [fit for fit in every if "error" not in fit]
            told = [words.spread([f["told_by"][k] for f in found], 0, 100)
                    for k in ("noise", "class")]  # fmt: skip
            lines.append(
                [f"{words.setting(setting, SMALL)}, {protocol}", STARTED[start],
                 words.spread([f["auroc"] for f in found]), *told]
            )  # fmt: skip
    header = ["setting", "the fit starts from", "AUROC", "told by the noise, %",
              "told by the class, %"]  # fmt: skip
    return Table(pd.DataFrame(lines, columns=header), used, GRIDS)


def from_both(book: Book, setting: Setting, base: str) -> dict[str, list[Mapping]]:
    """Start -> runs of the seeds that both were run with; empty if there are none."""
    runs = {start: book.evidence.at(name, SMALL, setting)
            for start, name in named_by_start(base).items()}  # fmt: skip
    seeds = sorted(runs["kmeans"].keys() & runs["total"].keys())
    return {k: [r[s] for s in seeds] for k, r in runs.items()} if seeds else {}


@table
def start_worth(book: Book) -> Table:
    """What the arms come to from either start, where both were run, paired by seed."""
    pairs = (("F-FT", "continue"), ("retrain", "continue"),
             ("retrain", "initial decayed"))  # fmt: skip
    lines, used = [], []
    for base in PROTOCOLS:
        for setting in book.evidence.settings(changed_name(base, MOVED), SMALL):
            for start, runs in from_both(book, setting, base).items():
                used += runs
                told = f"{words.setting(setting, SMALL)}, {base}"
                gaps = [gap_between(runs, *pair) for pair in pairs]
                lines.append([told, STARTED[start], *gaps])
    header = ["setting", "the fit starts from"]
    header += [f"{words.arm(a)} minus {words.arm(b)}" for a, b in pairs]
    return Table(pd.DataFrame(lines, columns=header), used, ("differences", "table*"))


def gap_between(runs: Sequence[Mapping], arm: str, other: str) -> str:
    """One arm minus another over runs that all have both; else nothing."""
    gaps = [gap(arm, other)(r) for r in runs]
    return "" if None in gaps or not gaps else words.gap(interval(gaps))


@number
def start_auroc(
    book: Book, level: str, start: str, protocol: str = "controlled"
) -> str:
    """AUROC of the partition from a start, at a noise level: mean and range over all
    networks. One that was run from the other start has noted what this one finds."""
    return words.spread(areas_from(book, level, start, protocol)) or NOT_RUN


def areas_from(book: Book, level: str, start: str, protocol: str) -> list[float]:
    """AUROC of the partition from a start, of all networks at a noise level."""
    setting = started_at(level, start)
    found: dict[int, float] = {}
    for used, name in named_by_start(protocol).items():
        for seed, run in book.evidence.at(name, SMALL, setting).items():
            noted = run["partition"].get("starts", {}).get(start, {})
            if used == start:
                found[seed] = areas(run)[WHICHEVER]
            elif "auroc" in noted:
                found.setdefault(seed, noted["auroc"])
    return list(found.values())


@number
def start_above(book: Book, bound: str, start: str, protocol: str) -> str:
    """In how many networks at levels 4.5 and 8 the AUROC from a start is above a
    bound: "5 of 6"."""
    found = [a for level in (TABLE_5, headline(CIFAR10).level)
             for a in areas_from(book, f"{level:g}", start, protocol)]  # fmt: skip
    above = sum(area > float(bound) for area in found)
    return f"{above} of {len(found)}" if found else NOT_RUN


@number
def start_gain(book: Book, level: str, arm: str, protocol: str = "controlled") -> str:
    """What an arm gains when the mixture starts from the halves of the total
    attribution and not from k-means, in points, paired by seed."""
    runs = [started(book, level, start, protocol) for start in ("total", "kmeans")]
    gains = [a["arms"][arm]["accuracy"] - b["arms"][arm]["accuracy"]
             for a, b in zip(*runs, strict=True)]  # fmt: skip
    return words.gap(interval(gains)) if gains else NOT_RUN


@number
def start_gap(
    book: Book, level: str, start: str, arm: str, other: str,
    protocol: str = "controlled",
) -> str:  # fmt: skip
    """One arm minus another from a start of the mixture, at a noise level."""
    return gap_between(started(book, level, start, protocol), arm, other) or NOT_RUN


def started(book: Book, level: str, start: str, protocol: str) -> list[Mapping]:
    """Runs from a start at a noise level, of the seeds that were run from both."""
    return from_both(book, started_at(level, start), protocol).get(start, [])


def started_at(level: str, start: str) -> Setting:
    """The setting of a noise level; ``LookupError`` where there is no such, or no such
    start."""
    if level not in AXES["noise level"] or start not in STARTS:
        raise LookupError(f"no start {start!r} at level {level!r}: {', '.join(STARTS)}")
    return AXES["noise level"][level]


def named_by_start(base: str) -> dict[str, str]:
    """Start -> the protocol that is this one, started there."""
    return {"kmeans": base, "total": changed_name(base, MOVED)}


@number
def labels(book: Book, arm: str, other: str, protocol: str = "controlled") -> str:
    """One arm minus another with 40 % wrong labels, in points."""
    runs = book.evidence.at(protocol, SMALL, PLACES["labels"]).values()
    return gap_between(list(runs), arm, other) or NOT_RUN


@number
def identity(book: Book) -> str:
    """How far standardised attribution and activation are apart at most, over runs."""
    found = [r["identity_difference"] for r in book.evidence
             if "identity_difference" in r]  # fmt: skip
    return words.told(f"{max(found):.0e}") if found else NOT_RUN


FOUND = "AUROC of the partition"


@explorer
def levels(book: Book) -> Explorer:
    """Noise level, start of the mixture and protocol -> how well the partition finds
    the noise, and what the arms then reach: means over seeds."""
    keys = ("noise level", "the mixture starts from", "protocol")
    lines, used = [], []
    for level, setting in AXES["noise level"].items():
        for start, name in STARTED.items():
            for base in PROTOCOLS:
                asked = base if start == "kmeans" else changed_name(base, MOVED)
                runs = list(book.evidence.at(asked, SMALL, setting).values())
                used += runs
                told = {FOUND: [areas(r)[WHICHEVER] for r in runs]}
                for arm in ("initial", "F-FT", "retrain", "continue"):
                    told[words.arm(arm)] = [r["arms"][arm]["accuracy"] for r in runs
                                            if arm in r["arms"]]  # fmt: skip
                lines += [(level, name, base, what, 100 * fmean(v), None)
                          for what, v in told.items() if v]  # fmt: skip
    frame = pd.DataFrame(lines, columns=[*keys, "what", "value", "beside"])
    return Explorer(keys, frame, used, ("table3", "differences"), areas=(FOUND,))
