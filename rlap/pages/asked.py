"""What a page of the book may ask for by name: numbers, tables and pictures.

A page says ``{ledger}`gap: F-FT, retrain, released` ``; the functions that answer are
registered here under their names, and ``ask`` finds them. All of a build ask one
``Book``, so that the records are read once.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rlap.corruption.corrupted import INPUT_KINDS
from rlap.experiments.protocol import CIFAR10, SPEECH
from rlap.ledger import rows, tables
from rlap.ledger.cells import Setting, headline
from rlap.ledger.claims import RLAP
from rlap.ledger.evidence import Evidence, Place, Runs, file_forgetting
from rlap.ledger.verdicts import NOT_RUN

TOPICS = ("headline", "ledger", "partition", "gain", "limits", "differences", "cost",
          "tables", "forgetting", "bad_data")  # fmt: skip
KINDS: dict[str, dict[str, Callable]] = {
    "number": {},
    "table": {},
    "picture": {},
    "explorer": {},
}


@dataclass
class Table:
    """A table with the records that it rests on and the grids that make them."""

    frame: pd.DataFrame
    records: Sequence[Mapping] = ()
    grids: Sequence[str] = ()
    kind: str = ""  # a class of the style sheet

    @property
    def idle(self) -> bool:
        """Whether it says nothing but that nothing was run."""
        return self.frame.empty or (
            len(self.frame) == 1 and self.frame.iloc[0, 0] == NOT_RUN
        )


@dataclass
class Picture:
    """A drawing, the numbers in it (which a reader can download), and their records."""

    figure: Any
    data: pd.DataFrame
    records: Sequence[Mapping] = ()
    grids: Sequence[str] = ()


@dataclass
class Explorer:
    """States to choose among, all computed ahead: ``frame`` has a row a state and
    quantity, with the columns ``keys`` (what is chosen), "what", "value" and "beside"
    (what it is compared with; may be empty), in per cent. ``areas``: the quantities
    that are shown from 0 to 1, as the whole book shows an AUROC."""

    keys: Sequence[str]
    frame: pd.DataFrame
    records: Sequence[Mapping] = ()
    grids: Sequence[str] = ()
    areas: Sequence[str] = ()


@dataclass
class Book:
    """Everything that the pages show, read once. ``folder``: where the records are."""

    folder: Path | None = None

    @cached_property
    def ledger(self) -> rows.Ledger:
        """The numbers of the paper beside ours."""
        return rows.build(self.folder)

    @property
    def evidence(self) -> Evidence:
        """The records of the study, filed."""
        return self.ledger.evidence

    @cached_property
    def tables(self) -> tables.Tables:
        """The ledger's tables, kept on disk."""
        return tables.load(self.folder, self.ledger)

    @cached_property
    def claims(self) -> pd.DataFrame:
        """The claims about RLAP, a row a protocol and scale."""
        found = self.tables.claims
        return found[found["about"] == RLAP]

    @cached_property
    def forgetting(self) -> pd.DataFrame:
        """The claims about forgetting a class, a row a network."""
        found = self.tables.claims
        return found[found["about"] != RLAP]

    @property
    def margins(self) -> pd.DataFrame:
        """How the verdicts move with the margin."""
        return self.tables.margins

    @cached_property
    def places(self) -> dict[Place, Runs]:
        """The records on forgetting, by network."""
        return file_forgetting(self.ledger.records)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row an arm of a run of the study that counts: where, what was asked, what
        its partition did ("auroc", whichever part it kept; "right", the share of
        samples on their right side) and the arm's accuracy."""
        used = {r["identity"]["id"] for r in self.evidence}
        every = self.tables.records
        every = every[every["run"].isin(used) & (every["attack"] == 0)]
        own = every[every["arm"] == "partition"]
        own = own.pivot(index="run", columns="metric", values="value")
        own = own.reindex(columns=["auroc", "accuracy", "oriented_right"])  # or no runs
        arms = every[(every["metric"] == "accuracy") & (every["arm"] != "partition")]
        found = arms.rename(columns={"value": "accuracy", "size_true": "images"})
        found["auroc"] = found["run"].map(np.maximum(own["auroc"], 1 - own["auroc"]))
        found["right"] = found["run"].map(own["accuracy"])
        found["clean kept"] = found["run"].map(own["oriented_right"] == 1)
        found["images"] = found["images"].astype(int)
        noisy = found["dataset"].eq(CIFAR10) & found["kind"].isin(INPUT_KINDS)
        return found.assign(**{"noisy images": noisy})

    def records(self, protocol: str, scale: str = "small", data: str = CIFAR10) -> list:
        """Records at the headline setting, by seed."""
        return list(self.evidence.at(protocol, scale, setting_named(data)).values())


def setting_named(data: str) -> Setting:
    """The headline setting of a data set; ``LookupError`` for one that has none."""
    if data not in (CIFAR10, SPEECH):
        raise LookupError(f"no headline of {data!r}: {CIFAR10} or {SPEECH}")
    return headline(data)


def number(function: Callable) -> Callable:
    """Register what answers with a piece of text."""
    return register("number", function)


def table(function: Callable) -> Callable:
    """Register what answers with a ``Table``."""
    return register("table", function)


def picture(function: Callable) -> Callable:
    """Register what answers with a ``Picture``."""
    return register("picture", function)


def explorer(function: Callable) -> Callable:
    """Register what answers with an ``Explorer``."""
    return register("explorer", function)


def register(kind: str, function: Callable) -> Callable:
    """Keep a function under its name, as a page writes it."""
    name = function.__name__.replace("_", " ")
    if name in KINDS[kind]:
        raise ValueError(f"two functions answer the {kind} {name!r}")
    KINDS[kind][name] = function
    return function


def ask(kind: str, words: str, book: Book) -> Any:
    """The answer to "name: first, second". ``LookupError``: nothing has that name, or
    the name takes other words."""
    for topic in TOPICS:
        import_module(f"rlap.pages.{topic}")
    name, _, rest = words.partition(":")
    name, given = name.strip(), [w.strip() for w in rest.split(",") if w.strip()]
    known = KINDS[kind]
    if name not in known:
        near = difflib.get_close_matches(name, known, 3) or sorted(known)
        raise LookupError(f"no {kind} is called {name!r}; there is {', '.join(near)}")
    asked = inspect.signature(known[name])
    try:
        asked.bind(book, *given)
    except TypeError as error:
        wants = ", ".join(list(asked.parameters)[1:]) or "nothing"
        raise LookupError(f"{kind} {name!r} takes {wants}: {error}") from None
    before = np.random.get_state()
    np.random.seed(0)  # seaborn's jitter: the same picture in every build
    try:
        return known[name](book, *given)
    finally:
        np.random.set_state(before)
