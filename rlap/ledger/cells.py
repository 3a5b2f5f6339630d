"""What a run of the first paper's experiments is about, and what it says about a cell.

A record answers a cell when it was run at the cell's setting. A scale is a tier and
whatever the run does differently from that tier's own choices: "small",
"small/resnet18-16" (by model and width), "paper", "small+epochs=20", "paper+data=other"
(speech of the small test archive), "paper+images=3125" (a size that the paper has not).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType

from rlap.experiments.parameters import StudyParameters
from rlap.experiments.protocol import CIFAR10, SPEECH
from rlap.ledger.paper import ARM, UNITS, Cell, by_key
from rlap.ledger.summary import per_cent

FULL, TEST = 50_000, 10_000  # training (full size) and test images of the paper
CLAMPED = "gaussian_clamped"
KINDS = {"symmetric_exclusive": "wrong labels"}  # of noise, other than on the inputs
# what a table varies, or what has no bearing on the result
VARIED = ("tier", "seed", "dataset", "protocol", "arms", "kind", "rate", "level")


@dataclass(frozen=True)
class Setting:
    """Data and noise of a run. ``size`` counts training images on the paper's scale: a
    quarter of a tier's full size stands for 12,500. None for speech. ``images`` counts
    those of the run, where it is the setting of one.

    >>> print(Setting("cifar10", "gaussian", 0.5, 8.0, size=50_000, images=12_500))
    12,500 images (paper: 50,000), level 8, 50 % corrupted
    """

    dataset: str
    kind: str
    rate: float
    level: float | None
    size: int | None
    images: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return ", ".join([self.sizes() or "spoken keywords", *self.noise()])

    def noise(self) -> list[str]:
        """What is wrong with the data, in words."""
        told = []
        if self.kind not in (CLAMPED, "gaussian"):
            told.append(KINDS.get(self.kind, self.kind.replace("_", " ")))
        if self.level is not None:
            told.append(f"level {self.level:g}")
        return [*told, f"{per_cent(self.rate)} corrupted"]

    def sizes(self) -> str:
        """The true number of images first, that of the paper in brackets."""
        if self.size is None:
            return ""
        if self.images is None:
            return f"paper's size {self.size:,}"
        other = "" if self.images == self.size else f" (paper: {self.size:,})"
        return f"{self.images:,} images{other}"


def headline(dataset: str = CIFAR10) -> Setting:
    """The setting that the paper's first table opens with; for speech its only one."""
    if dataset == SPEECH:
        return Setting(SPEECH, "gaussian", 0.5, 15.0, None)
    return Setting(CIFAR10, CLAMPED, 0.5, 8.0, FULL)


def setting_for(cell: Cell) -> Setting:
    """The setting at which a cell was measured, by the released code."""
    at = cell.setting_value
    if cell.table in (1, 2):
        return Setting(CIFAR10, CLAMPED, 0.5, 8.0, int(at))
    if cell.table == 3:
        return Setting(CIFAR10, CLAMPED, 0.5, float(at), FULL)
    if cell.table == 4:
        return Setting(CIFAR10, CLAMPED, float(at), 2.0, FULL)
    if cell.table == 5:
        return Setting(CIFAR10, CLAMPED, 0.5, 4.5, FULL)
    return headline(SPEECH)


def setting_of(record: Mapping) -> Setting:
    """The setting of a record."""
    asked = record["parameters"]
    what = [asked[name] for name in ("dataset", "kind", "rate", "level")]
    if asked["dataset"] != CIFAR10:
        return Setting(*what, None)
    images = asked["train_size"]
    return Setting(*what, round(images * FULL / choices(record)["train_size"]), images)


def choices(record: Mapping) -> Mapping[str, object]:
    """What the record's tier would have chosen for every parameter."""
    asked = record["parameters"]
    return usual(*(asked[k] for k in VARIED))


@cache  # asked for several times a record, and many have the same
def usual(*varied: object) -> Mapping[str, object]:
    """What a tier chooses where the parameters in ``VARIED`` are these."""
    given = dict(zip(VARIED, varied, strict=True))
    return MappingProxyType(StudyParameters(**given).resolved().identity())


def scale_of(record: Mapping) -> str:
    """Tier, network if it is not the tier's, and other departures from the tier; of the
    paper's tier also sizes that the paper has not, and data that say of themselves that
    they are not the paper's."""
    asked, chosen = record["parameters"], choices(record)
    free = {*VARIED, "train_size"}
    other = {k: v for k, v in asked.items() if k not in free and v != chosen[k]}
    model, width = other.pop("model", None), other.pop("width", None)
    name = asked["tier"]
    if model or width:
        name += f"/{model or asked['model']}" + (f"-{width}" if width else "")
    if is_full(asked["tier"]):
        if asked["dataset"] == CIFAR10 and asked["train_size"] not in printed_sizes():
            other["images"] = asked["train_size"]
        if record["data"].get("banner"):
            other["data"] = "other"
    return "+".join([name, *(f"{k}={v}" for k, v in sorted(other.items()))])


@cache
def printed_sizes() -> frozenset[int]:
    """The training-set sizes of the paper's first table."""
    return frozenset(int(key[1]) for key in by_key() if key[0] == 1)


def is_full(scale: str) -> bool:
    """Whether a scale is the paper's own: its network, data, sizes and epochs."""
    return scale == "paper"


# --- what a record says about a cell -------------------------------------------------


def arm_of(cell: Cell) -> str:
    """The arm of our records that a cell's method and criterion are."""
    arm = ARM[cell.method]
    return arm if cell.variant == "ours" else f"{arm}/{cell.variant}"


def measured(record: Mapping, cell: Cell) -> float | None:
    """What a record says about a cell: a fraction or seconds an epoch; None if it does
    not have the arm."""
    arm = arm_of(cell)
    if cell.table == 5 and float(cell.setting_value) > 0:
        at_rates = record.get("attacked", {}).get(arm, {})
        scores = at_rates.get(f"{float(cell.setting_value):g}", {})
        return scores.get(cell.metric)
    scores = record["arms"].get(arm)
    if scores is None:
        return None
    if cell.is_time:
        tests = tests_an_epoch(record) if cell.method == "initial" else 0.0
        return epoch_seconds(scores["history"], tests)
    return scores.get("top3" if cell.metric == "top3_accuracy" else cell.metric)


def epoch_seconds(history: Mapping, tests: float = 0.0) -> float | None:
    """Mean seconds an epoch as the paper counts: training, and ``tests`` times the test
    of each epoch. What was computed once is spread over the epochs.

    >>> epoch_seconds({"seconds": [1.0, 1.0], "setup_seconds": 3.0})
    2.5
    """
    seconds = history["seconds"]
    if not seconds:
        return None
    total = math.fsum(seconds) + history.get("setup_seconds", 0.0)
    total += tests * math.fsum(history.get("test_seconds", []))
    return total / len(seconds)


def tests_an_epoch(record: Mapping) -> float:
    """The share of our test pass that the paper's initial epoch would have.

    The paper tests on 10,000 images after each epoch of 50,000, 25,000 or 12,500. We
    test on as many while the training set is smaller, which would make the initial
    epoch dear, and everything measured by it cheap.
    """
    size = setting_of(record).size
    if size is None:  # speech: nobody knows the paper's test set
        return 1.0
    of_paper = TEST / size
    tested = record.get("watched", record["data"]["n_test"])
    of_ours = tested / record["parameters"]["train_size"]
    return of_paper / of_ours


def reference(cell: Cell) -> Cell:
    """The initial network's cell at the same setting. Table 2 prints none: its runs are
    those of Table 1."""
    table = 1 if cell.table == 2 else cell.table
    return by_key()[(table, cell.setting_value, "initial", "ours", cell.metric)]


def in_units(cell: Cell, value: float) -> float:
    """A fraction in the unit that the cell is printed in."""
    return value * UNITS[cell.unit]


def values(
    seeds: Mapping[int, Mapping], cell: Cell
) -> tuple[list[float], list[float], list[int]]:
    """Over the seeds that have them: the cell's values, those of its reference, and the
    seeds."""
    own, base, used = [], [], []
    for seed, record in sorted(seeds.items()):
        value, start = measured(record, cell), measured(record, reference(cell))
        if value is not None and start is not None:
            own.append(value)
            base.append(start)
            used.append(seed)
    return own, base, used
