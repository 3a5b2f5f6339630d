"""What no field of a protocol measures alone: said by the records, or by the tables.

Each function of ``FINDINGS`` takes the evidence and returns lines of plain text, none
where nothing was run; each of ``TABLES`` computes its line from the printed numbers.
``differences.yml`` names them (``records:``, ``tables:``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean

from rlap.corruption.corrupted import INPUT_KINDS
from rlap.experiments.protocol import CIFAR10, PROTOCOLS
from rlap.ledger import paper
from rlap.ledger.cells import CLAMPED, FULL
from rlap.ledger.claims.noise import FAIR_AUROC, RIVALS
from rlap.ledger.claims.quantities import (
    accuracy,
    auroc,
    cleaner_part_gains,
    gap,
    saved_an_epoch,
    saved_in_all,
)
from rlap.ledger.evidence import Evidence, Quantity, Runs
from rlap.ledger.summary import counted, fixed, interval, per_cent

LEVEL = 2.0  # of Table 4

# --- from the records ----------------------------------------------------------------


def identity(evidence: Evidence) -> list[str]:
    """How far the gradient attribution is from the activation, rescaled."""
    found = [r["identity_difference"] for r in evidence if "identity_difference" in r]
    if not found:
        return []
    return [
        f"the two differ by at most {max(found):.1e} in {counted(len(found), 'run')}"
    ]


def choice(evidence: Evidence) -> list[str]:
    """How often each protocol keeps the noisier part of noisy images where it finds
    the noise; and at the headline, what the right part is worth in one and the same
    run."""
    lines = []
    for where, runs in named_places(evidence):
        told = [r for r in runs.all() if is_noisy_images(r) and auroc(r) >= FAIR_AUROC]
        if told:
            wrong = sum(not r["partition"]["oriented_right"] for r in told)
            lines.append(
                f"{where}: where the noise of images is found (AUROC "
                f"{FAIR_AUROC} and more; speech does not count), {wrong} of "
                f"{counted(len(told), 'run')} keep the noisy part"
            )
        at_head = runs.at(runs.headline()).values()
        if found := known(cleaner_part_gains, at_head):
            lines.append(
                f"{where}, at the headline: F-FT on the cleaner part minus "
                f"F-FT on the other, in one run: {interval(found).points()} points, "
                f"n = {len(found)}"
            )
    return lines


def kept(evidence: Evidence) -> list[str]:
    """How much more than the clean samples is kept, by their share."""
    lines = []
    for where, place in named_places(evidence):
        parts = []
        for setting in sorted(place.found, key=lambda s: s.rate):
            here = (setting.dataset, setting.kind, setting.level, setting.size)
            runs = list(place.at(setting).values())
            if here != (CIFAR10, CLAMPED, LEVEL, FULL) or not runs:
                continue
            found = [r["partition"]["detection"] for r in runs]
            shares = zip(found, map(clean, runs), strict=True)
            times = fmean(d["retained"] / n for d, n in shares)
            purity = fmean(d["purity"] for d in found)
            parts.append(
                f"{times:.1f} where {per_cent(setting.rate)} are noisy "
                f"({per_cent(purity)} of the kept clean, n = {len(runs)})"
            )
        if parts:
            lines.append(
                f"{where}, level {LEVEL:g}: kept samples over clean ones "
                + ", ".join(parts)
            )
    return lines


def spread(evidence: Evidence) -> list[str]:
    """Between which ends a single run may fall."""
    lines = []
    for where, runs in at_headline(evidence):
        gaps = known(gap("F-FT", "retrain"), runs)
        if len(gaps) > 1:
            lines.append(
                f"{where}: F-FT minus retraining from {points(min(gaps))} "
                f"to {points(max(gaps))} points over {counted(len(gaps), 'seed')}"
            )
    return lines


def columns(evidence: Evidence) -> list[str]:
    """Initial networks of different seeds beside criteria that share one."""
    lines = []
    for where, runs in at_headline(evidence):
        start = [accuracy(r, "initial") for r in runs]
        tuned = [by_criterion(r) for r in runs]
        within = [max(v) - min(v) for v in tuned if len(v) > 1]
        if len(start) > 1 and within:
            lines.append(
                f"{where}: initial networks range over "
                f"{100 * (max(start) - min(start)):.1f} points between "
                f"{counted(len(start), 'seed')}; F-FT by "
                f"{max(map(len, tuned))} criteria over at most "
                f"{100 * max(within):.1f} in a run"
            )
    return lines


def labels(evidence: Evidence) -> list[str]:
    """The same method where labels are wrong."""
    lines = []
    for where, place in named_places(evidence):
        for setting in place.found:
            runs = place.at(setting).values()
            if setting.kind != "symmetric_exclusive" or not runs:
                continue
            area = interval(known(auroc, runs))
            gain = interval(known(gap("F-FT", "initial"), runs))
            lines.append(
                f"{where}, {per_cent(setting.rate)} wrong labels: AUROC "
                f"{area.mean:.2f}, F-FT minus initial network {gain.points()} points, "
                f"n = {gain.n}"
            )
    return lines


def seconds(evidence: Evidence) -> list[str]:
    """What an arm saves of retraining's seconds, an epoch and in all."""
    lines = []
    for where, runs in at_headline(evidence):
        told = []
        for arm in ("L-FT", "F-FT"):
            if pairs := pairs_of(saved_an_epoch(arm), saved_in_all(arm), runs):
                epoch, all_in_all = pairs
                told.append(
                    f"{arm} {per_cent(epoch)} an epoch, {per_cent(all_in_all)} in all"
                )
        if told:
            lines.append(
                f"{where}: saved of retraining's seconds: "
                f"{'; '.join(told)}; n = {len(runs)}"
            )
    return lines


def heads(evidence: Evidence) -> list[str]:
    """What head fine-tuning saves an epoch with pruning and without."""
    lines = []
    for where, runs in at_headline(evidence):
        both = [r for r in runs if "L-FT/none" in r["arms"]]
        if pair := pairs_of(saved_an_epoch("L-FT"), saved_an_epoch("L-FT/none"), both):
            lines.append(
                f"{where}: of retraining's seconds an epoch L-FT saves "
                f"{per_cent(pair[0])}, head fine-tuning without pruning "
                f"{per_cent(pair[1])}; n = {len(both)}"
            )
    return lines


FINDINGS: dict[str, Callable[[Evidence], list[str]]] = {
    f.__name__: f
    for f in (identity, choice, kept, spread, columns, labels, seconds, heads)
}


def known(of: Quantity, runs: Sequence[Mapping]) -> list[float]:
    """A quantity of the runs that have it."""
    return [value for value in map(of, runs) if value is not None]


def points(share: float) -> str:
    """A difference of fractions in points, with its sign."""
    return fixed(100 * share, 1, sign=True)


def pairs_of(
    first: Quantity, second: Quantity, runs: Sequence[Mapping]
) -> tuple[float, float] | None:
    """The means of two quantities over the runs that have both."""
    pairs = [pair for r in runs if None not in (pair := (first(r), second(r)))]
    return tuple(map(fmean, zip(*pairs, strict=True))) if pairs else None


def is_noisy_images(record: Mapping) -> bool:
    """Whether a run is about images with noise in the input."""
    return record["data"]["name"] == CIFAR10 and record["noise"]["kind"] in INPUT_KINDS


def clean(record: Mapping) -> float:
    """How many training samples are clean."""
    return (1 - record["noise"]["realised_rate"]) * record["data"]["n_train"]


def by_criterion(record: Mapping) -> list[float]:
    """F-FT of the paper's criterion and of its rivals, as far as a record has them."""
    arms = ("F-FT", *(f"F-FT/{rival}" for rival in RIVALS))
    return [accuracy(record, arm) for arm in arms if arm in record["arms"]]


def named_places(evidence: Evidence) -> Iterator[tuple[str, Runs]]:
    """Named protocols and scales that were run ("released, small"), and their runs."""
    for place, runs in evidence.files.items():
        if place[0] in PROTOCOLS:
            yield ", ".join(place), runs


def at_headline(evidence: Evidence) -> Iterator[tuple[str, list[Mapping]]]:
    """The same with the records of the headline setting, where there are any."""
    for where, runs in named_places(evidence):
        if found := runs.at(runs.headline()):
            yield where, list(found.values())


# --- from the tables -----------------------------------------------------------------


def many(kind: str) -> int:
    """How many anomalies of a kind the tables have."""
    return [a.kind for a in paper.anomalies()].count(kind)


def mixtures() -> str:
    """Table 5 holds mixtures of two accuracies."""
    off = [off for *_, off in paper.own_lines()]
    return (
        f"the numbers of each of {len(off)} methods above share 0 lie within "
        f"{max(off):.4f} of a line: mixtures of two accuracies"
    )


def arms_apart() -> str:
    """Gain and saving of both arms."""
    return "Table 1, full size: " + "; ".join(
        f"{paper.ARM[arm]} gains {points(paper.printed_lead(arm))} points "
        f"over retraining and saves {per_cent(paper.printed_saving(arm), 1)} an epoch"
        for arm in ("f_ft", "l_ft")
    )


def gain() -> str:
    """F-FT over retraining, by table."""
    return "F-FT minus retraining: " + ", ".join(
        f"{points(paper.printed_gap(table, 'f_ft', 'retrain'))} points in Table {table}"
        for table in (1, 3, 4, 6)
    )


def same_times() -> str:
    """How often Table 3 prints one and the same initial time."""
    cells = [c for c in paper.of_table(3) if c.is_time and c.method == "initial"]
    times = [c.printed for c in cells]
    most = max(set(times), key=times.count)
    return f"{most} s at {times.count(most)} of {len(times)} noise levels"


def criteria_lead() -> str:
    """At how many sizes the paper's own criterion is first, as printed in Table 2."""
    cells = [c for c in paper.of_table(2) if c.metric == "accuracy"]
    sizes = dict.fromkeys(c.setting_value for c in cells)
    firsts = []
    for method in ("pruned", "l_ft", "f_ft"):
        rows = [[c for c in cells if (c.method, c.setting_value) == (method, size)]
                for size in sizes]  # fmt: skip
        best = [max(row, key=lambda c: c.value).variant for row in rows]
        firsts.append(f"{paper.ARM[method]} {best.count('ours')} of {len(best)}")
    return "first among five: " + ", ".join(firsts)


TABLES: dict[str, Callable[[], str]] = {
    "copies": lambda: (
        f"{len(paper.copies())} of {len(paper.cells())} numbers are copies"
    ),
    "impossible": lambda: (
        f"{many('impossible triple')} of {len(list(paper.triples()))} triples are "
        "impossible"
    ),
    "slips": lambda: (
        f"{many('slip in a copy')} slip; F1 equals accuracy "
        f"{many('F1 equal to accuracy')} times"
    ),
    "off_line": lambda: "; ".join(a.text for a in paper.off_their_line()),
    "mixtures": mixtures,
    "saving_lft": lambda: (
        f"L-FT saves {per_cent(paper.printed_saving('l_ft'), 1)} an epoch in Table 1"
    ),
    "arms_apart": arms_apart,
    "gain": gain,
    "same_times": same_times,
    "criteria_lead": criteria_lead,
}
