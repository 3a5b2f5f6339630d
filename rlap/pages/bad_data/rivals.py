"""What other papers would do with the same data, beside the paper's arms
(``grids/rivals.yaml``)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from rlap.experiments.protocol import CIFAR10
from rlap.ledger.cells import CLAMPED, FULL, Setting, headline
from rlap.ledger.summary import counted
from rlap.ledger.verdicts import NOT_RUN
from rlap.pages.asked import Book, Table, number, table
from rlap.pages.bad_data.repairs import mean_gain

GRIDS = ("rivals",)
KINDS = {
    "gaussian_clamped": "clamped noise",
    "symmetric_exclusive": "wrong labels",
    "human_worst": "human labels",
}
# as the grid has them
PLACE = "controlled", "small"
SETTINGS = {
    kind: headline() if kind == CLAMPED else Setting(CIFAR10, kind, 0.4, None, FULL)
    for kind in KINDS
}
SHOWN = {
    "F-FT": "F-FT",
    "continue": "continued training",
    "retrain": "retraining on the part that was kept",
    "forget/SSD": "SSD forgets the other part",
    "forget/SCRUB": "SCRUB forgets the other part",
    "SAP": "SAP",
    "initial decayed": "training anew, on everything",
    "initial decayed/generalized loss": "the same with a robust loss",
    "initial decayed/small loss": "the same on the samples of small loss",
}


def runs(book: Book, kind: str) -> list[Mapping]:
    """The runs of the grid with one kind of bad data, one a seed."""
    if kind not in KINDS:
        raise LookupError(f"no kind {kind!r} beside rivals: {', '.join(KINDS)}")
    found = book.evidence.every(*PLACE, SETTINGS[kind])
    return [r for _, same in sorted(found.items()) for r in same
            if r["parameters"]["arms"] == "rivals"]  # fmt: skip


@table
def rivals(book: Book) -> Table:
    """What each arm gains over the initial network, by what is wrong; kinds that were
    not run are left out, if any was."""
    found = {kind: runs(book, kind) for kind in KINDS}
    found = {kind: mine for kind, mine in found.items() if mine} or found
    lines = [
        [said, *(mean_gain(mine, arm, "initial") or NOT_RUN for mine in found.values())]
        for arm, said in SHOWN.items()
    ]
    told = [f"{KINDS[k]} ({counted(len(mine), 'seed')})" for k, mine in found.items()]
    columns = ["what is done", *told]
    used = [r for mine in found.values() for r in mine]
    return Table(pd.DataFrame(lines, columns=columns), used, GRIDS)


@number
def rival(book: Book, arm: str, kind: str, other: str = "initial") -> str:
    """What an arm gains over another, in points with the interval."""
    for name in (arm, other):
        if name not in SHOWN and name != "initial":
            raise LookupError(f"no arm {name!r} beside rivals: {', '.join(SHOWN)}")
    return mean_gain(runs(book, kind), arm, other) or NOT_RUN
