"""How far the evidence reaches: what so many seeds could have seen, and the paper's
network on fewer images than the paper ever took, for half of its epochs, beside what
had been predicted of it (``grids/paper_network.yaml``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import fmean

import pandas as pd

from rlap.experiments.protocol import changed_name
from rlap.ledger import counts
from rlap.ledger.cells import headline
from rlap.ledger.claims.quantities import auroc, gap
from rlap.ledger.evidence import Quantity
from rlap.ledger.summary import counted
from rlap.ledger.verdicts import NOT_RUN
from rlap.mixture import STARTS
from rlap.pages import words
from rlap.pages.asked import Book, Picture, Table, number, picture, table
from rlap.pages.headline import SHOWN, accuracies, by_arm

IMAGES = 3_125
SCALE = f"paper+epochs=30+finetune_epochs=15+images={IMAGES}"
GRIDS = ("paper_network",)
PROTOCOLS = ("released", "controlled")
FOUND = changed_name("controlled", {"start": "total"})  # where the partition finds it


@dataclass(frozen=True)
class Prediction:
    """A quantity, and by protocol the lowest and highest value expected of its mean."""

    what: str
    of: Quantity
    expected: Mapping[str, tuple[float, float]]
    points: bool = True

    def told(self, value: float) -> str:
        """A value as it is written."""
        return words.points(value) if self.points else words.fixed(value, 2)


PREDICTED = (
    Prediction("F-FT minus retraining, points", gap("F-FT", "retrain"),
               {"released": (0, 0.2), "controlled": (0.01, 0.09)}),
    Prediction("F-FT minus continued training, points", gap("F-FT", "continue"),
               {"released": (-0.12, 0.01), "controlled": (-0.02, 0.02)}),
    Prediction("pruned minus initial network, points", gap("pruned", "initial"),
               {"controlled": (-0.01, 0.01)}),
    Prediction("AUROC of the partition", auroc,
               {"released": (0.8, 1), "controlled": (0.9, 1)}, points=False),
)  # fmt: skip


def records(book: Book, protocol: str) -> list[Mapping]:
    """The runs of a protocol, by seed."""
    setting = replace(headline(), size=IMAGES)
    return list(book.evidence.at(protocol, SCALE, setting).values())


@picture
def paper_network(book: Book) -> Picture:
    """Every seed's accuracy of four arms, released, controlled, and controlled with
    the mixture started from the total attribution."""
    used = [r for p in (*PROTOCOLS, FOUND) for r in records(book, p)]
    data = accuracies(book, used, SHOWN)
    return Picture(by_arm(data, (*PROTOCOLS, FOUND)), data, used, GRIDS)


@table
def predicted(book: Book) -> Table:
    """What had been predicted of the paper's network, and what came."""
    found = {p: records(book, p) for p in PROTOCOLS}
    lines = []
    for one in PREDICTED:
        row = {"what": one.what}
        for protocol, runs in found.items():
            span = one.expected.get(protocol)
            row[f"{protocol}, predicted"] = " to ".join(map(one.told, span or ()))
            row[protocol] = came(one, runs, span)
        lines.append(row)
    used = [r for runs in found.values() for r in runs]
    return Table(pd.DataFrame(lines), used, GRIDS)


def came(one: Prediction, runs: list[Mapping], span: tuple | None) -> str:
    """The mean over the runs, and whether it lies where it was expected."""
    values = [v for r in runs if (v := one.of(r)) is not None]
    if not values:
        return NOT_RUN
    mean = fmean(values)
    if span is None:
        return one.told(mean)
    return (
        f"{one.told(mean)}, {'as' if span[0] <= mean <= span[1] else 'not'} predicted"
    )


@number
def paper_network_gap(book: Book, arm: str, other: str, protocol: str) -> str:
    """One arm minus another, in points, in the mean over the seeds: "+5.3 (1 seed)"."""
    values = [gap(arm, other)(r) for r in records(book, protocol)]
    if None in values:
        raise LookupError(f"no run of {protocol!r} has both {arm!r} and {other!r}")
    if not values:
        return NOT_RUN
    return f"{words.points(fmean(values))} ({counted(len(values), 'seed')})"


@number
def paper_network_kept(book: Book, protocol: str) -> str:
    """How many images the partition keeps, in the mean over the seeds."""
    kept = [r["partition"]["detection"]["retained"] for r in records(book, protocol)]
    return f"{fmean(kept):,.0f} of {IMAGES:,} images" if kept else NOT_RUN


@number
def paper_network_start(book: Book, start: str, protocol: str) -> str:
    """How well the mixture tells the noise from a start: the AUROC, whichever part it
    calls good, in the mean over the seeds."""
    if start not in STARTS:
        raise LookupError(f"no start {start!r} of the mixture: {', '.join(STARTS)}")
    areas = [r["partition"]["starts"][start]["auroc"] for r in records(book, protocol)]
    found = [max(a, 1 - a) for a in areas]
    return words.fixed(fmean(found), 2) if found else NOT_RUN


@table
def could_be_seen(book: Book) -> Table:
    """The differences that would have shown in each design, told from none."""
    lines = [
        [words.run(row["protocol"], row["tier"]), row["n"], row["differences"],
         span(row), words.percent(row["within"] / row["differences"], 0)]
        for row in counts.seen(book.ledger.gains)
    ]  # fmt: skip
    header = ["runs", "seeds", "differences", "would have shown, points",
              "two points would have shown in"]  # fmt: skip
    return Table(pd.DataFrame(lines, columns=header), list(book.evidence))


def span(row: Mapping) -> str:
    """ "2.4 (0.7 to 9.1)": the median, the least and the most."""
    sizes = [words.fixed(100 * row[k], 1) for k in ("median", "least", "most")]
    middle, *ends = (size if float(size) else "under 0.1" for size in sizes)
    return f"{middle} ({' to '.join(ends)})"
