"""The gain by what the partition did."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from statistics import fmean

import pandas as pd

from rlap.experiments.protocol import PROTOCOLS
from rlap.figures import GREY, WIDTH, drawing
from rlap.ledger.claims.noise import FAIR_AUROC
from rlap.ledger.claims.quantities import accuracy
from rlap.pages import words
from rlap.pages.asked import Book, Picture, Table, number, picture, table
from rlap.pages.headline import COLOUR, RIVALS, beside_rivals

MISSED, KEPT_CLEAN, KEPT_NOISY = (
    "noise not found",
    "found, clean part kept",
    "found, noisy part kept",
)

# start of the mixture, its mark and the mark's size
STARTS_SHOWN = (("k-means", "o", 20), ("total attribution", "x", 34))
SORTED = [False, True, True, True]  # the largest size first, as the paper has it


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


@table
def orientation(book: Book) -> Table:
    """A line a released run that found the noise, of those of ``by_outcome``: which
    part it kept, and F-FT minus the network that it starts from."""
    data = from_kmeans(book)
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
