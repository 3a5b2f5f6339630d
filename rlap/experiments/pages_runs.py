"""What the pages on gain, differences and compute show, made from the records.

As in ``rlap.experiments.pages``, functions lay out what was computed elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from html import escape
from itertools import product
from statistics import fmean

from rlap.experiments import differences, ledger
from rlap.experiments.claims import FAIR_AUROC
from rlap.experiments.differences import Difference, Effect
from rlap.experiments.evidence import (
    Evidence,
    Setting,
    headline,
    scale_of,
    setting_of,
)
from rlap.experiments.findings import is_noisy_images
from rlap.experiments.markup import (
    html,
    mark,
    of_interval,
    plain,
    points,
    table,
    table_of,
)
from rlap.experiments.protocol import PROTOCOLS, Protocol, name_of, spelled, steps
from rlap.experiments.quantities import accuracy, auroc, gap
from rlap.experiments.summary import Interval, counted, interval
from rlap.experiments.verdicts import MIN_SEEDS, NOT_RUN
from rlap.partition import STARTS


def register(evidence: Evidence) -> object:
    """The 43 differences with what each is worth."""
    lines = []
    for d in differences.register():
        how = " and ".join(f"<code>{name}</code>" for name in d.fields)
        how = how or " minus ".join(d.arms or ())
        how = "the printed numbers" if d.tables else how or "all runs" * bool(d.records)
        where = differences.PLACES[d.where]
        lines.append([str(d.number), escape(d.title), where, how, worth(evidence, d)])
    header = ["no.", "difference", "where", "measured by", "effect on accuracy, points"]
    return html(table(header, lines, "register"))


def worth(evidence: Evidence, d: Difference) -> str:
    """What was measured of a difference, or why nothing was."""
    if d.none:
        return f"{mark(NOT_RUN)}: {escape(d.none)}"
    told = [escape(line) for line in differences.from_records(evidence, d)]
    if d.tables:
        return "<br>".join([escape(differences.from_tables(d.tables)), *told])
    found = together(differences.effects(evidence, d))
    if found or (told and not d.fields):
        return "<br>".join(told + found)
    names = differences.wanted(d)
    todo = " or ".join(f"<code>{t}</code>" for t in names[:3])
    todo += f" and {len(names) - 3} more" if len(names) > 3 else ""
    return "<br>".join([*told, mark(NOT_RUN) + (f": would be {todo}" if todo else "")])


def protocol_fields() -> object:
    """Every field of a protocol: what it says, its values in the named ones, and the
    numbers of the differences that it stands for."""
    lines = []
    for f in fields(Protocol):
        values = [spelled(getattr(p, f.name)) for p in PROTOCOLS.values()]
        numbers = ", ".join(map(str, f.metadata["audit"]))
        says = escape(f.metadata["meaning"])
        lines.append([f"<code>{f.name}</code>", says, *values, numbers])
    return html(table(["field", "what it says", *PROTOCOLS, "no."], lines, "register"))


def together(found: Sequence[Effect]) -> list[str]:
    """Measured effects in words, a line for all arms of the same runs."""
    lines: dict[str, list[str]] = {}
    for e in found:
        where = [differences.short_name(e.base, e.setting.dataset), e.tier]
        if e.setting != headline(e.setting.dataset):
            where.append(str(e.setting))
        runs = f"{', '.join(where)}: {e.what}, n = {e.difference.n}"
        lines.setdefault(runs, []).append(f"{e.arm} {of_change(e.difference)}")
    return [f"{runs}: {'; '.join(arms)}" for runs, arms in lines.items()]


def best_tier(evidence: Evidence, setting: Setting) -> str:
    """The tier in which most steps of the walk were run (else the first planned)."""
    names = [name for name, _ in steps("released", "controlled", setting.dataset)]
    tiers = dict.fromkeys([*ledger.SCALES, *(tier for _, tier in evidence.files)])
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


def of_change(change: Interval) -> str:
    """A change in points, or that no seed shows any."""
    return "none" if change.low == change.high == 0 else of_interval(change)


def largest_step(lines: Sequence[Mapping], arm: str, other: str | None = None) -> str:
    """The step of ``walk`` that moves ``arm`` most, or its gap to ``other``, in words:
    of those whose interval leaves out zero. What two steps cannot be told apart by is
    no reason to name one of them."""
    changes: dict[str, Interval] = {}
    before: list[float] = []
    for line in lines:
        here = list(line[arm])
        if other is not None:
            here = [a - b for a, b in zip(here, line[other], strict=True)]
        if len(before) > 1 and here:
            moved = [a - b for a, b in zip(here, before, strict=True)]
            changes[str(line["field"])] = interval(moved)
        before = here
    if not changes:
        return NOT_RUN
    sure = {k: c for k, c in changes.items() if c.low > 0 or c.high < 0}
    if not sure:
        return "none for sure"
    field = max(sure, key=lambda name: abs(sure[name].mean))
    return f"{field} ({plain(of_interval(sure[field]))} points)"


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


def epochs_table(
    found: Mapping[str, Mapping[int, Mapping[str, Sequence[float]]]],
    arm: str,
    others: Sequence[str],
) -> object:
    """What ``by_epochs`` found, by protocol: ``arm`` minus each of ``others``, by seed
    in pairs."""
    lines = []
    for protocol, runs in found.items():
        for epochs, values in runs.items():
            gaps = [
                [a - b for a, b in zip(values[arm], values[other], strict=True)]
                for other in others
            ]
            shown = [of_interval(interval(gap)) for gap in gaps]
            lines.append([protocol, str(epochs), str(len(values[arm])), *shown])
    header = ["protocol", "epochs", "seeds", *(f"{arm} minus {o}" for o in others)]
    return table_of(header, lines)


MISSED, KEPT_CLEAN, KEPT_NOISY = (
    "noise not found",
    "found, clean part kept",
    "found, noisy part kept",
)


def by_partition(
    evidence: Evidence, tier: str, arm: str, others: Sequence[str]
) -> list[dict[str, object]]:
    """A line a run on images with noise in the input, of the named protocols, in every
    setting and from either start of the mixture: the share of samples that the
    partition put on their right side, what it found (``outcome``), and ``arm`` minus
    each of ``others``."""
    found = []
    for protocol, start in product(PROTOCOLS, STARTS):
        name = name_of(f"{protocol}+start={start}")
        for setting in evidence.settings(name, tier):
            for record in evidence.at(name, tier, setting).values():
                if not is_noisy_images(record):
                    continue
                line = {"protocol": protocol, "start": start}
                line["right"] = record["partition"]["detection"]["accuracy"]
                line["outcome"] = outcome(record)
                found.append(line | {o: gap(arm, o)(record) for o in others})
    return found


def outcome(record: Mapping) -> str:
    """Whether a partition found the noise, and which part was then kept."""
    if auroc(record) < FAIR_AUROC:
        return MISSED
    return KEPT_CLEAN if record["partition"]["oriented_right"] else KEPT_NOISY


def by_outcome(
    lines: Sequence[Mapping], others: Sequence[str]
) -> dict[tuple[str, str], dict[str, list[float]]]:
    """Of ``by_partition``: (protocol, outcome) -> other arm -> a gap a run."""
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for protocol in PROTOCOLS:
        for name in (MISSED, KEPT_NOISY, KEPT_CLEAN):
            mine = [
                r for r in lines if (r["protocol"], r["outcome"]) == (protocol, name)
            ]
            if mine:
                found[protocol, name] = {
                    o: [r[o] for r in mine if r[o] is not None] for o in others
                }
    return found


def gaps_told(gaps: Sequence[float]) -> str:
    """Mean, range and number of gaps over runs, in points."""
    if not gaps:
        return "no such run"
    mean, low, high = (points(v) for v in (fmean(gaps), min(gaps), max(gaps)))
    return f"{mean} ({low} to {high}, {counted(len(gaps), 'run')})"


def outcome_table(
    found: Mapping[tuple[str, str], Mapping[str, Sequence[float]]],
    arm: str,
    others: Sequence[str],
) -> object:
    """What ``by_outcome`` found as a table."""
    lines = [
        [protocol, name, *(gaps_told(gaps[o]) for o in others)]
        for (protocol, name), gaps in found.items()
    ]
    header = ["protocol", "the partition", *(f"{arm} minus {o}" for o in others)]
    return table_of(header, lines)


SCRATCH = ("initial", "retrain", "oracle")  # how arms that start anew are called


def budgets(runs: Mapping[str, Sequence[Mapping]], arms: Sequence[str]) -> object:
    """How much each arm trains, by protocol: samples, epochs and their product, which
    as many epochs do not make equal; and the same with the initial training that it
    starts from. Means over the records."""
    lines = []
    for protocol, arm in product(runs, arms):
        own = [r for r in runs[protocol] if "history" in r["arms"].get(arm, {})]
        if not own:
            continue
        passes, whole = (fmean(images_seen(r, arm, w) for r in own) for w in (0, 1))
        samples = fmean(r["arms"][arm]["samples"] for r in own)
        lines.append(
            [protocol, arm, f"{samples:,.0f}", f"{passes / samples:.0f}",
             f"{passes:,.0f}", f"{whole:,.0f}", str(len(own))]
        )  # fmt: skip
    header = ["protocol", "arm", "samples", "epochs", "images seen",
              "with the initial training", "runs"]  # fmt: skip
    return table_of(header, lines)


def images_seen(record: Mapping, arm: str, whole: bool) -> int:
    """Samples times epochs of an arm, and with ``whole`` of the initial training, where
    it starts from that."""
    arms = record["arms"]
    seen = arms[arm]["samples"] * len(arms[arm]["history"]["seconds"])
    goes_on = whole and not arm.startswith(SCRATCH)
    return seen + (images_seen(record, "initial", False) if goes_on else 0)


def orientation(records: Sequence[Mapping]) -> object:
    """A line a run: which part it kept, how pure that is, and what came of it."""
    lines = [
        [
            scale_of(r),
            str(setting_of(r)),
            str(r["seed"]),
            "clean" if r["partition"]["oriented_right"] else "noisy",
            f"{r['partition']['detection']['purity']:.1%}",
            *(f"{100 * r['arms'][a]['accuracy']:.1f}" if a in r["arms"] else ""
              for a in ("initial", "L-FT", "F-FT", "retrain")),
        ]
        for r in sorted(records, key=lambda r: (str(setting_of(r)), r["seed"]))
    ]  # fmt: skip
    header = ["run", "setting", "seed", "part kept", "of it clean", "initial, %",
              "L-FT, %", "F-FT, %", "retrain, %"]  # fmt: skip
    return table_of(header, lines)
