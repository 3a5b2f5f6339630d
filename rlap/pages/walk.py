"""The walk from the released protocol to the controlled one, and longer training, for
the page on gain.

As in ``rlap.pages.ledger``, functions lay out what was computed elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlap.experiments.protocol import steps
from rlap.ledger import evidence as filed
from rlap.ledger.cells import Setting
from rlap.ledger.claims.quantities import accuracy, auroc
from rlap.ledger.evidence import Evidence
from rlap.ledger.summary import Interval, interval, standard_error
from rlap.ledger.verdicts import (
    ALPHA,
    MIN_SEEDS,
    NOT_RUN,
    holm,
    p_value,
)
from rlap.pages.markup import html, mark, of_change, of_interval, plain, table, table_of


def best_tier(evidence: Evidence, setting: Setting) -> str:
    """The tier in which most steps of the walk were run (else the first planned)."""
    names = [name for name, _ in steps("released", "controlled", setting.dataset)]
    tiers = dict.fromkeys([*filed.SCALES, *(tier for _, tier in evidence.files)])
    return max(
        tiers, key=lambda t: sum(bool(evidence.at(n, t, setting)) for n in names)
    )


def walk(
    evidence: Evidence, tier: str, setting: Setting, arms: Sequence[str]
) -> list[dict[str, object]]:
    """From the released protocol to the controlled one, a field at a time: each step's
    protocol, field, accuracy by arm, and change by arm paired with the step before.

    All steps speak of the same seeds: those of every step that has enough of them. One
    with fewer counts as not run.
    """
    names = list(steps("released", "controlled", setting.dataset))
    runs = {name: evidence.at(name, tier, setting) for name, _ in names}
    whole = [set(here) for here in runs.values() if len(here) >= MIN_SEEDS]
    seeds = sorted(set.intersection(*whole)) if whole else []
    found, before = [], None
    for name, field in names:
        here = [runs[name][s] for s in seeds] if set(seeds) <= set(runs[name]) else []
        line = {"protocol": name, "field": field or "released", "n": len(here)}
        line["records"] = here
        for arm in arms:
            line[arm] = [accuracy(r, arm) for r in here]
        if before and here:
            line["change"] = {
                arm: interval([a - b for a, b in zip(line[arm], before[arm],
                                                     strict=True)])
                for arm in arms
            }  # fmt: skip
        found.append(line)
        before = line if here else None
    return found


def walk_table(lines: Sequence[Mapping], arms: Sequence[str]) -> object:
    """The steps of ``walk`` as a table. Each step trains and parts anew, so what its
    partitions found and kept belongs beside what it changes."""
    rows = []
    for line in lines:
        row = [str(line["field"]), str(line["n"]) if line["n"] else mark(NOT_RUN)]
        row += [", ".join(map(partition_told, line["records"]))]
        for arm in arms:
            values = line[arm]
            mean = f"{100 * sum(values) / len(values):.1f}" if values else ""
            change = line.get("change", {}).get(arm)
            row += [mean, of_change(change) if change else ""]
        rows.append(row)
    header = ["changed", "seeds", "area by seed"]
    header += [h for arm in arms for h in (f"{arm}, %", "change, points")]
    return html(table(header, rows, "whole"))  # not cut off: the last step matters


def partition_told(record: Mapping) -> str:
    """The area under the ROC curve of a run's partition; in brackets where the noisy
    part was kept."""
    area = f"{auroc(record):.2f}"
    return area if record["partition"]["oriented_right"] else f"({area})"


def largest_step(lines: Sequence[Mapping], arm: str, other: str | None = None) -> str:
    """The step of ``walk`` that moves ``arm`` most, or its gap to ``other``, in words:
    of those that differ from zero after Holm's correction over all steps that ran. The
    interval told with it is that of this step alone."""
    moved: dict[str, list[float]] = {}
    before: list[float] = []
    for line in lines:
        here = list(line[arm])
        if other is not None:
            here = [a - b for a, b in zip(here, line[other], strict=True)]
        if len(before) > 1 and here:
            moved[str(line["field"])] = [
                a - b for a, b in zip(here, before, strict=True)
            ]
        before = here
    if not moved:
        return NOT_RUN
    found = {field: interval(change) for field, change in moved.items()}
    ps = [
        p_value(found[field].mean, standard_error(change), len(change))
        for field, change in moved.items()
    ]
    sure = [f for f, p in zip(moved, holm(ps), strict=True) if p <= ALPHA]
    if not sure:
        return "none for sure"
    field = max(sure, key=lambda name: abs(found[name].mean))
    return f"{field} ({plain(of_interval(found[field]))} points)"


def by_epochs(
    evidence: Evidence, protocol: str, tier: str, setting: Setting, arms: Sequence[str]
) -> dict[int, dict[str, list[float]]]:
    """Epochs of initial training -> arm -> one accuracy a seed, for the network of
    ``tier`` trained as long as it says and longer."""
    found: dict[int, dict[str, list[float]]] = {}
    for at, scale in evidence.files:
        name, *changes = scale.split("+")
        longer = all(c.split("=")[0] in ("epochs", "finetune_epochs") for c in changes)
        if at != protocol or name != tier or not longer:
            continue
        for record in evidence.at(protocol, scale, setting).values():
            here = found.setdefault(record["parameters"]["epochs"], {})
            for arm in arms:
                here.setdefault(arm, []).append(record["arms"][arm]["accuracy"])
    return dict(sorted(found.items()))


def gaps_by_epochs(
    runs: Mapping[int, Mapping[str, Sequence[float]]], arm: str, other: str
) -> dict[int, Interval]:
    """Epochs -> ``arm`` minus ``other``, paired by seed (``runs``: ``by_epochs``)."""
    return {
        epochs: interval(
            [a - b for a, b in zip(values[arm], values[other], strict=True)]
        )
        for epochs, values in runs.items()
    }


def epochs_told(
    runs: Mapping[int, Mapping[str, Sequence[float]]], arm: str, other: str
) -> str:
    """ "-2.4 [-7.3, +2.5] after 8 epochs, -2.8 [-3.2, -2.5] after 16", in points."""
    found = gaps_by_epochs(runs, arm, other)
    told = [f"{plain(of_interval(gap))} after {n}" for n, gap in found.items()]
    return ", ".join([told[0] + " epochs", *told[1:]]) if told else NOT_RUN


def epochs_table(
    found: Mapping[str, Mapping[int, Mapping[str, Sequence[float]]]],
    arm: str,
    others: Sequence[str],
) -> object:
    """What ``by_epochs`` found, by protocol: ``arm`` minus each of ``others``, by seed
    in pairs."""
    lines = []
    for protocol, runs in found.items():
        gaps = [gaps_by_epochs(runs, arm, other) for other in others]
        for epochs, values in runs.items():
            shown = [of_interval(gap[epochs]) for gap in gaps]
            lines.append([protocol, str(epochs), str(len(values[arm])), *shown])
    header = ["protocol", "epochs", "seeds", *(f"{arm} minus {o}" for o in others)]
    return table_of(header, lines)
