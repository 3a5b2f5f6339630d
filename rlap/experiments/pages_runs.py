"""What the pages on gain, differences and compute show, made from the records.

As in ``rlap.experiments.pages``, functions lay out what was computed elsewhere.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import fields
from html import escape
from itertools import product

from rlap.experiments import differences, ledger
from rlap.experiments.claim_rules import gap
from rlap.experiments.differences import Effect
from rlap.experiments.evidence import Evidence, Setting, setting_of
from rlap.experiments.markup import (
    html,
    mark,
    of_interval,
    table,
)
from rlap.experiments.protocol import PROTOCOLS, Protocol, name_of, spelled, steps
from rlap.experiments.summary import interval
from rlap.experiments.verdicts import NOT_RUN
from rlap.partition import STARTS


def register(evidence: Evidence) -> object:
    """The 43 differences with what each is worth."""
    lines = []
    for d in differences.register():
        found = differences.effects(evidence, d)
        how = f"<code>{d.field}</code>" if d.field else " minus ".join(d.arms or ())
        if d.tables:
            how, worth = (
                "the printed numbers",
                escape(differences.from_tables(d.tables)),
            )
        elif d.none:
            worth = f"{mark(NOT_RUN)}: {escape(d.none)}"
        elif found:
            worth = "<br>".join(effect(e) for e in found)
        else:
            names = differences.wanted(d)
            todo = " or ".join(f"<code>{t}</code>" for t in names[:3])
            todo += f" and {len(names) - 3} more" if len(names) > 3 else ""
            worth = mark(NOT_RUN) + (f": would be {todo}" if todo else "")
        where = differences.PLACES[d.where]
        lines.append([str(d.number), escape(d.title), where, how, worth])
    header = ["no.", "difference", "where", "measured by", "effect on accuracy, points"]
    return html(table(header, lines, "register"))


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


def effect(e: Effect) -> str:
    """One measured effect in words."""
    return (
        f"{differences.short_name(e.base, e.setting.dataset)}, {e.tier}: "
        f"{e.what}: {e.arm} {of_interval(e.difference)}, n = {e.difference.n}"
    )


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
    protocol, field, accuracy by arm, and change by arm paired with the step before."""
    found, before = [], None
    for name, field in steps("released", "controlled", setting.dataset):
        here = evidence.at(name, tier, setting)
        line = {"protocol": name, "field": field or "released", "n": len(here)}
        for arm in arms:
            line[arm] = [r["arms"][arm]["accuracy"] for r in here.values()]
        if before is not None:
            changes = differences.between(
                evidence, (before, tier), (name, tier), arms, [setting]
            )
            line["change"] = {e.arm: e.difference for e in changes}
        found.append(line)
        before = name
    return found


def walk_table(lines: Sequence[Mapping], arms: Sequence[str]) -> object:
    """The steps of ``walk`` as a table."""
    rows = []
    for line in lines:
        row = [str(line["field"]), str(line["n"]) if line["n"] else mark(NOT_RUN)]
        for arm in arms:
            values = line[arm]
            mean = f"{100 * sum(values) / len(values):.1f}" if values else ""
            change = line.get("change", {}).get(arm)
            row += [mean, of_interval(change) if change else ""]
        rows.append(row)
    header = ["changed", "seeds"]
    header += [h for arm in arms for h in (f"{arm}, %", "change, points")]
    return html(table(header, rows))


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
    return html(table(header, lines) if lines else f"<p>{mark(NOT_RUN)}</p>")


def by_partition(
    evidence: Evidence, tier: str, arm: str, others: Sequence[str]
) -> list[dict[str, object]]:
    """A line a run of the named protocols, in every setting and from either start of
    the mixture: the share of samples that the partition put on their right side, and
    ``arm`` minus each of ``others``."""
    found = []
    for protocol, start in product(PROTOCOLS, STARTS):
        name = name_of(f"{protocol}+start={start}")
        for setting in evidence.settings(name, tier):
            for record in evidence.at(name, tier, setting).values():
                line = {"protocol": protocol, "start": start}
                line["right"] = record["partition"]["detection"]["accuracy"]
                found.append(line | {o: gap(arm, o)(record) for o in others})
    return found


# the first training of a run, by the names that the notebooks give it
FIRST = ("initial", "original", "original, orthogonal")


def compute(records: Sequence[Mapping]) -> object:
    """Hours of computing by notebook, tier, data, device and precision."""
    bill: dict[tuple, list[float]] = {}
    for r in records:
        place = (r["notebook"], r["tier"], r["data"]["name"])
        place += (r["provenance"]["device"], precision_of(r))
        bill.setdefault(place, []).append(run_seconds(r))
    lines = [
        [*map(escape, place), str(len(s)), f"{sum(s) / len(s):.0f}",
         f"{sum(s) / 3600:.2f}"]
        for place, s in sorted(bill.items())
    ]  # fmt: skip
    total = sum(map(sum, bill.values()))
    lines.append(["all", *[""] * 4, str(len(records)), "", f"{total / 3600:.2f}"])
    header = ["notebook", "tier", "data", "device", "precision", "runs", "s a run",
              "hours"]  # fmt: skip
    return html(table(header, lines))


def precision_of(record: Mapping) -> str:
    """What its networks were trained in: "bf16" or "fp32"; empty if it does not say."""
    histories = (arm["history"] for arm in record["arms"].values() if "history" in arm)
    return next((history["precision"] for history in histories), "")


def run_seconds(record: Mapping) -> float:
    """Seconds of all stages and arms of a run."""
    return math.fsum(record["seconds"].values())


def alike(records: Sequence[Mapping]) -> dict[tuple[str, ...], list[Mapping]]:
    """Runs whose times can be averaged, by notebook, protocol, tier and network."""
    groups: dict[tuple[str, ...], list[Mapping]] = {}
    for r in records:
        place = (r["notebook"], r["protocol"].split("+")[0], r["tier"])
        groups.setdefault((*place, r["parameters"]["model"]), []).append(r)
    return groups


def stages(records: Sequence[Mapping]) -> object:
    """What each stage takes beside the first training of its run, which is 1.

    The median over runs. Machines differ; this does not depend on them.
    """
    groups = {
        place: [r["seconds"] for r in runs] for place, runs in alike(records).items()
    }
    names = list(dict.fromkeys(n for g in groups.values() for s in g for n in s))
    lines = []
    for name in names:
        shown = []
        for runs in groups.values():
            first = next((n for n in FIRST if n in runs[0]), None)
            shares = [s[name] / s[first] for s in runs if first and name in s]
            shown.append(f"{statistics.median(shares):.3f}" if shares else "")
        lines.append([escape(name), *shown])
    header = ["stage or arm", *(" · ".join(place) for place in groups)]
    return html(table(header, lines))


def orientation(records: Sequence[Mapping]) -> object:
    """A line a run: which part it kept, how pure that is, and what came of it."""
    lines = [
        [
            f"{r['parameters']['model']}, {r['tier']}",
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
    return html(table(header, lines) if lines else f"<p>{mark(NOT_RUN)}</p>")


def time_to_accuracy(records: Sequence[Mapping]) -> object:
    """Time until an arm reaches the accuracy that retraining ends with, as a multiple
    of what retraining itself took to get there: the median over runs."""
    groups = alike([r for r in records if "retrain" in r["arms"]])
    lines = []
    for arm in ("initial", "L-FT", "F-FT", "continue", "retrain"):
        shown = []
        for runs in groups.values():
            ratios = [
                (seconds_until(r, arm), seconds_until(r, "retrain"))
                for r in runs
                if arm in r["arms"]
            ]
            there = [took / own for took, own in ratios if took is not None and own]
            whole = there and len(there) == len(ratios)
            share = f"{len(there)} of {len(ratios)} runs"
            middle = f"{statistics.median(there):.2f}" if whole else ""
            shown.append(f"{middle} <small>({share})</small>" if ratios else "")
        lines.append([arm, *shown])
    return html(table(["arm", *(" · ".join(p) for p in groups)], lines))


def seconds_until(record: Mapping, arm: str) -> float | None:
    """Seconds from nothing until an arm first tests as well as retraining at its end;
    None if it never does."""
    target = record["arms"]["retrain"]["history"]["test_accuracy"]
    history = record["arms"][arm]["history"]
    stages = ("attribution", "partition", "sensitivity", "pruning")
    before = 0.0 if arm in ("initial", "retrain") else record["seconds"]["initial"]
    if arm in ("L-FT", "F-FT"):
        before += math.fsum(record["seconds"].get(s, 0.0) for s in stages)
    spent = before + history.get("setup_seconds", 0.0)
    curve = zip(history["seconds"], history["test_accuracy"], strict=False)
    for seconds, accuracy in curve:
        spent += seconds
        if target and accuracy >= target[-1]:
            return spent
    return None
