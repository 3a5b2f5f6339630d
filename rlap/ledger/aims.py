"""What `repair` and `diagnose` were to reach, and whether the recorded runs reach it.

Most aims were written down before either was built; those of one training, and of the
diagnosis after repair, were added. What is reached is decided here, pages show it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from rlap.ledger.evidence import SMOKE
from rlap.ledger.summary import Interval, interval

NOTEBOOK = "06_bad_data"
CAME, ON, REPAIR = "as it came", "going on with everything", "repair"
ONE, THRICE = "repair, one training", "going on three times"
ORACLE = "truly clean part, trained on"
HEADS, NETWORKS = "cleanlab, heads", "cleanlab, networks"
INPUTS = ("gaussian", "gaussian_clamped", "black", "shuffled", "foreign")
ENOUGH = 5  # runs; with fewer, a wide interval denies nothing
LABELS = ("symmetric_exclusive", "asymmetric", "human_worst")  # the usual rates
CLEAN = "clean"
LABEL = "rlap: label"

Value = Callable[[Mapping], "float | None"]


@dataclass(frozen=True)
class Aim:
    """One aim: ``value`` of a run, None where it has none to give, is to be at least
    ``bound`` (``most``: at most) in the mean of the runs that ``where`` takes; with
    ``each``, in every setting by itself, and the worst one is told; with ``surely``,
    the lower end of the interval is. ``points``: values are shares, told in points."""

    about: str
    where: Callable[[Mapping], bool]
    value: Value
    bound: float
    most: bool = False
    each: bool = False
    surely: bool = False
    points: bool = True

    def reached(self, found: Interval) -> bool | None:
        """Whether runs reach it; None where they are too few to tell."""
        if self.surely:
            return found.low >= self.bound or (False if found.n >= ENOUGH else None)
        return found.mean <= self.bound if self.most else found.mean >= self.bound

    def spare(self, found: Interval) -> tuple[int, float]:
        """How good runs are, to order settings by: first whether they reach it."""
        value = found.low if self.surely and found.n > 1 else found.mean
        rank = (False, None, True).index(self.reached(found))
        return rank, -value if self.most else value


@dataclass(frozen=True)
class Judged:
    """An aim, the interval of its values (None without runs), of ``settings`` many
    settings the worst, and whether it is reached."""

    aim: Aim
    found: Interval | None
    settings: int
    reached: bool | None


def judged(records: Iterable[Mapping]) -> list[Judged]:
    """Every aim by the recorded runs on real data."""
    taken = [r for r in records if counts(r)]
    return [judge(aim, taken) for aim in AIMS]


def judge(aim: Aim, records: Iterable[Mapping]) -> Judged:
    """One aim by runs, reached where it is in every setting that it asks."""
    values: dict[object, list[float]] = {}
    for r in filter(aim.where, records):
        if (value := aim.value(r)) is not None:
            values.setdefault(setting(r) if aim.each else None, []).append(value)
    if not values:
        return Judged(aim, None, 0, None)
    found = [interval(v) for v in values.values()]
    worst = min(found, key=aim.spare)
    return Judged(aim, worst, len(found), aim.reached(worst))


def setting(record: Mapping) -> tuple:
    """What a run was asked, but for its seed."""
    asked = record["parameters"].items()
    return tuple((k, v) for k, v in asked if k not in ("seed", "arms"))


def counts(record: Mapping) -> bool:
    """Whether a run with bad data is one that is reported."""
    real = record["tier"] != SMOKE and not record["data"]["stand_in"]
    return record["notebook"] == NOTEBOOK and real


def gain(arm: str, base: str = CAME) -> Value:
    """Accuracy of an arm less another's."""

    def value(record: Mapping) -> float | None:
        arms = record["arms"]
        if arm not in arms or base not in arms:
            return None
        return arms[arm]["accuracy"] - arms[base]["accuracy"]

    return value


def seconds(record: Mapping, arm: str) -> float:
    """Of an arm, from the network as it came, with what it selects by."""
    taken = record["seconds"]
    own, chosen_by = taken.get(arm, 0.0), arm.rpartition(", ")[0]
    if arm == THRICE and "trainings" not in record["arms"].get(arm, {}):
        # records without that count took the first training from the arm ``ON``, and
        # timed the other two
        own += taken[ON]
    return own + (taken.get(chosen_by, 0.0) if chosen_by in record["shares"] else 0.0)


def ratio(arm: str, other: str) -> Value:
    """Seconds of an arm, as a multiple of another's."""

    def value(record: Mapping) -> float | None:
        if arm not in record["arms"] or other not in record["arms"]:
            return None
        return seconds(record, arm) / seconds(record, other)

    return value


def told(score: str, measure: str) -> Value:
    """A measure of how a score tells the bad samples."""
    return lambda record: record["told"].get(score, {}).get(measure)


def rate_error(record: Mapping) -> float:
    """How far the estimated share of bad samples is from the true one."""
    kind = "input rate" if record["parameters"]["kind"] in INPUTS else "label rate"
    return abs(record["diagnosis"][kind][0] - record["bad"]["rate"])


def of(*kinds: str, memorised: bool = False) -> Callable[[Mapping], bool]:
    """Runs of the small network on images with these kinds at their usual rate."""

    def where(record: Mapping) -> bool:
        asked = record["parameters"]
        usual = asked["rate"] in (None, 0.4) or asked["kind"] in INPUTS
        images = asked["dataset"] == "cifar10" and asked["model"] == "small"
        same = asked["memorised"] == memorised and asked["kind"] in kinds
        return same and usual and images

    return where


def any_run(record: Mapping) -> bool:
    """Every run."""
    return True


def strong(record: Mapping) -> bool:
    """Clamped noise of the usual level."""
    return of("gaussian_clamped")(record) and record["parameters"]["level"] == 8


def wrong_labels(record: Mapping) -> bool:
    """Labels of which some are wrong, at any rate, of any network and data."""
    return record["parameters"]["kind"] in (*LABELS, "human_aggregate")


def bad_inputs(record: Mapping) -> bool:
    """Inputs of which some are bad."""
    return record["parameters"]["kind"] in INPUTS


def weak(record: Mapping) -> bool:
    """Bad inputs that are hard to tell."""
    return of(*INPUTS)(record) and not strong(record)


SYMMETRIC, SIMILAR, PEOPLE = "any other class", "a similar class", "human labels"
BY = {SYMMETRIC: LABELS[0], SIMILAR: LABELS[1], PEOPLE: LABELS[2]}
RIVALS = ((NETWORKS, "five networks", 0.02), (HEADS, "heads", 0.015))
AIMS = (
    *(
        Aim(f"{said}: repair over the network as it came", of(BY[said]),
            gain(REPAIR), a)
        for said, a in ((SYMMETRIC, 0.045), (SIMILAR, 0.06), (PEOPLE, 0.045))
    ),
    Aim("memorised labels: repair over the network as it came",
        of(LABELS[0], memorised=True), gain(REPAIR), 0.2),
    Aim("every setting: repair over continued training", any_run, gain(REPAIR, ON), 0.0,
        each=True),
    Aim("every setting: repair over the network as it came, lower end", any_run,
        gain(REPAIR), -0.005, each=True, surely=True),
    Aim("nothing wrong: repair over the network as it came", of(CLEAN), gain(REPAIR),
        -0.003),
    Aim("clamped noise: repair over the truly clean part, trained on", strong,
        gain(REPAIR, ORACLE), -0.003),
    Aim("other bad inputs: repair over the truly clean part, trained on", weak,
        gain(REPAIR, ORACLE), -0.01),
    *(
        Aim(f"wrong labels: {said} over cleanlab's {theirs}, retrained", of(*LABELS),
            gain(arm, f"{scores}, retrained"), least)
        for arm, said in ((REPAIR, "repair"), (ONE, "one training"))
        for scores, theirs, least in RIVALS
    ),
    Aim("each kind of wrong labels: repair over cleanlab's five networks, retrained",
        of(*LABELS), gain(REPAIR, f"{NETWORKS}, retrained"), -0.005, each=True),
    *(
        Aim(f"wrong labels: seconds of {said} over those of cleanlab's {theirs}",
            of(*LABELS), ratio(arm, f"{scores}, retrained"), share, most=True,
            points=False)
        for arm, said in ((REPAIR, "repair"), (ONE, "one training"))
        for (scores, theirs, _), share in zip(RIVALS, (1 / 3, 1.0), strict=True)
    ),
    *(
        Aim(f"{said}: AUROC of wrong labels{by}", of(BY[said]), told(score, "auroc"), a,
            points=False)
        for said, a in ((SYMMETRIC, 0.95), (SIMILAR, 0.93), (PEOPLE, 0.88))
        for score, by in ((LABEL, ""), (f"{LABEL}, repaired", ", after repair"))
    ),
    Aim("every setting of wrong labels: error of the estimated share", wrong_labels,
        rate_error, 0.05, most=True, each=True),
    Aim("every setting of bad inputs: error of the estimated share", bad_inputs,
        rate_error, 0.05, most=True, each=True),
    Aim("every setting of wrong labels: calibration error", wrong_labels,
        told(LABEL, "calibration error"), 0.05, most=True, each=True, points=False),
)  # fmt: skip
