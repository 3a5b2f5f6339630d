"""The headline setting: accuracies, gaps, and every run on noisy images beside its
rivals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rlap.experiments.protocol import PROTOCOLS, name_of
from rlap.figures import GREY, WIDTH, drawing
from rlap.figures.run import BLUE, GREEN, ORANGE, PURPLE
from rlap.ledger.claims import quantities
from rlap.ledger.summary import interval
from rlap.ledger.verdicts import NOT_RUN
from rlap.pages import words
from rlap.pages.asked import Book, Picture, Table, number, picture, table

SHOWN = ("initial", "F-FT", "retrain", "continue")
COLOUR = {"released": ORANGE, "described": PURPLE, "controlled": BLUE}
RIVALS = ("retrain", "continue")
# every run of the small network by a named protocol, from either start of the mixture
EVERY = [*PROTOCOLS, *(name_of(f"{p}+start=total") for p in PROTOCOLS)]


@number
def accuracy(
    book: Book, arm: str, protocol: str, scale: str = "small", data: str = "cifar10"
) -> str:
    """Mean accuracy of an arm at the headline."""
    found = [quantities.accuracy(r, known(book, arm, "accuracy"))
             for r in book.records(protocol, scale, data)]  # fmt: skip
    return words.percent(float(np.mean(found))) if found else NOT_RUN


@number
def gap(
    book: Book,
    arm: str,
    other: str,
    protocol: str,
    scale: str = "small",
    data: str = "cifar10",
) -> str:
    """One arm minus another at the headline, in points with its interval."""
    arms = [known(book, name, "gap") for name in (arm, other)]
    return gap_of(book, *arms, protocol, scale, data) or NOT_RUN


def gap_of(
    book: Book, arm: str, other: str, protocol: str, scale: str, data: str = "cifar10"
) -> str:
    """The same; "" where no run has both."""
    of = quantities.gap(arm, other)
    found = [of(r) for r in book.records(protocol, scale, data)]
    found = [v for v in found if v is not None]
    return words.gap(interval(found)) if found else ""


def known(book: Book, arm: str, what: str) -> str:
    """``arm``, if any run has it; ``LookupError`` for one that was typed wrong."""
    if arm not in set(book.runs["arm"]):
        raise LookupError(f"{what} of {arm!r}: no run has such an arm")
    return arm


@number
def seeds(
    book: Book, protocol: str, scale: str = "small", data: str = "cifar10"
) -> str:
    """How many seeds were run at the headline."""
    return str(len(book.records(protocol, scale, data)))


@picture
def headline(book: Book) -> Picture:
    """Every seed's accuracy of four arms, released and controlled."""
    protocols = ("released", "controlled")
    records = [r for p in protocols for r in book.records(p)]
    data = accuracies(book, records, SHOWN)
    return Picture(by_arm(data, protocols), data, records, ("table1",))


def by_arm(data: pd.DataFrame, protocols: Sequence[str]) -> Figure:
    """A panel a protocol that was run, a line an arm of ``SHOWN``, a dot a run, a bar
    their mean."""
    import seaborn

    shown = [p for p in protocols if p in set(data["protocol"])] or [NOT_RUN]
    size = {"figsize": (WIDTH, 0.3 + 1.65 * len(shown)), "sharex": True}
    with drawing("", len(shown), 1, squeeze=False, **size) as (figure, axes):
        for ax, protocol in zip(axes[:, 0], shown, strict=True):
            if protocol == NOT_RUN:
                ax.set_axis_off()
                ax.set_title(NOT_RUN)
                break
            mine = data[data["protocol"] == protocol]
            order = [words.arm(a) for a in SHOWN]
            seaborn.stripplot(
                mine,
                x="accuracy",
                y="arm",
                order=order,
                ax=ax,
                size=5,
                color=COLOUR[protocol.partition("+")[0]],
                jitter=0.12,
                alpha=0.75,
            )
            for i, name in enumerate(order):
                mean = mine.loc[mine["arm"] == name, "accuracy"].mean()
                ax.plot([mean, mean], [i - 0.3, i + 0.3], color=GREY, lw=2)
                ax.annotate(words.fixed(mean, 1), (1.02, i), va="center", fontsize=9,
                            xycoords=("axes fraction", "data"))  # fmt: skip
            title = {
                "released": "released: as the public code does it",
                "controlled": "controlled: trained with care",
                "controlled+start=total": "controlled, from the total attribution",
            }[protocol]
            ax.set(ylabel="", xlabel="accuracy, %" if ax is axes[-1, 0] else "")
            ax.set_title(title, loc="left")
            ax.tick_params(axis="y", length=0)
            ax.grid(axis="x", color=GREY, alpha=0.2)
    return figure


def accuracies(
    book: Book, records: Sequence[Mapping], arms: Sequence[str]
) -> pd.DataFrame:
    """Accuracy in per cent of these arms, a row a run and arm."""
    ids = {r["identity"]["id"] for r in records}
    found = book.runs[book.runs["run"].isin(ids) & book.runs["arm"].isin(arms)]
    found = found[["protocol", "images", "seed", "arm", "accuracy"]].copy()
    found["arm"] = found["arm"].map(words.arm)
    found["accuracy"] = (100 * found["accuracy"]).round(2)
    return found


# --- every run on noisy images ----------------------------------------------------


def beside_rivals(book: Book, scale: str = "small") -> pd.DataFrame:
    """A row a run on noisy images by a named protocol: F-FT minus its rivals."""
    runs = book.runs
    mine = runs[runs["noisy images"] & (runs["scale"] == scale)
                & runs["protocol"].isin(EVERY)]  # fmt: skip
    place = ["run", "protocol", "rate", "level", "images", "seed", "auroc", "right",
             "clean kept"]  # fmt: skip
    wide = mine.pivot(index=place, columns="arm", values="accuracy").reset_index()
    for other in RIVALS:
        wide[other] = 100 * (wide["F-FT"] - wide[other])
    start = wide["protocol"].str.contains("start=total")
    wide["start"] = np.where(start, "total attribution", "k-means")
    wide["protocol"] = wide["protocol"].str.partition("+")[0]
    return wide[[*place, "start", *RIVALS]].dropna(subset=list(RIVALS))


def named(book: Book, scale: str = "small") -> pd.DataFrame:
    """The same of the named protocols alone, whose mixture starts from k-means."""
    data = beside_rivals(book, scale)
    return data[data["start"] == "k-means"]


@number
def wins(
    book: Book, other: str, protocol: str | None = None, scale: str = "small"
) -> str:
    """In how many runs on noisy images F-FT beats a rival; of one protocol, or all."""
    if other not in RIVALS:
        raise LookupError(f"wins over {other!r}: over {' or '.join(RIVALS)}")
    data = named(book, scale)
    if protocol is not None:
        data = data[data["protocol"] == protocol]
        if data.empty:
            raise LookupError(f"no runs on noisy images by {protocol!r}")
    found = data[other]
    return f"{int((found > 0).sum())} of {len(found)}"


@picture
def every_run(book: Book) -> Picture:
    """F-FT minus its two rivals in every run on noisy images."""
    import seaborn

    data = named(book)
    long = data.melt(id_vars="protocol", value_vars=list(RIVALS), var_name="rival",
                     value_name="gap")  # fmt: skip
    long["rival"] = "F-FT minus\n" + long["rival"].map(words.arm)
    long["better"] = long["gap"] > 0
    with drawing("", figsize=(WIDTH, 2.3)) as (figure, ax):
        seaborn.stripplot(long, x="gap", y="rival", hue="better", ax=ax, size=4,
                          palette={True: GREEN, False: ORANGE}, jitter=0.28,
                          alpha=0.8, legend=False)  # fmt: skip
        ax.axvline(0, color=GREY, lw=1)
        for i, other in enumerate(RIVALS):
            better = int((data[other] > 0).sum())
            ax.annotate(
                f"better in {better} of {len(data)} runs",
                (0, i - 0.36),
                fontsize=9,
                xytext=(4, 0),
                textcoords="offset points",
            )
        ax.set(xlabel="points of accuracy", ylabel="")
        ax.tick_params(axis="y", length=0)
    records = [r for r in book.evidence if r["identity"]["id"] in set(data["run"])]
    return Picture(figure, data.round(4), records, ("table*", "differences"))


@table
def headline_gaps(book: Book, arm: str = "F-FT", scale: str = "small") -> Table:
    """An arm minus its rivals at the headline, released and controlled."""
    protocols = ("released", "controlled")
    rivals = {
        "the initial network": "initial",
        "retraining": "retrain",
        "retraining, decaying rate, equal epochs": "retrain decayed",
        "continued training (all images, nothing pruned)": "continue",
        "training from scratch on all images, decaying rate, equal epochs":
            "initial decayed",
        f"{arm} without pruning": f"{arm}/none",
        f"{arm} on the images that counting pixels keeps": f"{arm}/trivial subset",
    }  # fmt: skip
    lines = []
    for told, other in rivals.items():
        cells = [gap_of(book, arm, other, p, scale) for p in protocols]
        if not cells[1] and other == "retrain decayed":  # what its retraining is anyway
            cells[1] = gap_of(book, arm, "retrain", "controlled", scale)
        lines.append([told, *(cell or NOT_RUN for cell in cells)])
    header = [f"{arm} minus …", *(f"{p}, points" for p in protocols)]
    records = [r for p in protocols for r in book.records(p, scale)]
    return Table(pd.DataFrame(lines, columns=header), records, ("table1",))
