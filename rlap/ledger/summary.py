"""What several records say together: tidy rows, intervals over seeds, paired gains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit  # scipy.stats takes seconds to import

from rlap.experiments.records import RecordError

METRICS = ("accuracy", "precision", "recall", "f1", "top3", "seconds")
SETTING = (
    "notebook",
    "protocol",
    "tier",
    "dataset",
    "kind",
    "rate",
    "level",
    "train_size",
    "model",
    "width",
    "epochs",
    "finetune_epochs",
    "split",
    "frames",
    "snr_db",
)


@dataclass(frozen=True)
class Interval:
    """Mean of n values with its 95 % interval (Student's t); none below n = 2."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return self.percent()

    def percent(self, digits: int = 1) -> str:
        """ "12.3 [11.0, 13.6]", in percent."""
        mean, low, high = (
            f"{100 * v:.{digits}f}" for v in (self.mean, self.low, self.high)
        )
        return mean if self.n < 2 else f"{mean} [{low}, {high}]"

    def points(self, digits: int = 1) -> str:
        """The same with a sign, for differences in percentage points."""
        mean, low, high = (
            f"{100 * v:+.{digits}f}" for v in (self.mean, self.low, self.high)
        )
        return mean if self.n < 2 else f"{mean} [{low}, {high}]"

    def within(self, least: float, most: float) -> Interval:
        """The same, its ends cut to where values can be; coverage is not less."""
        ends = [min(max(v, least), most) for v in (self.low, self.high)]
        return Interval(self.mean, *ends, self.n)


def interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % t interval; ``ValueError`` without values."""
    if not values:
        raise ValueError("no values to average")
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return Interval(mean, math.nan, math.nan, n)
    half = float(stdtrit(n - 1, 0.975) * np.std(values, ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def setting(record: Mapping) -> tuple:
    """What a record shares with the other seeds of its setting."""
    asked = record["parameters"]
    return tuple(record.get(k, asked.get(k)) for k in SETTING)


def group(records: Sequence[Mapping]) -> dict[tuple, list[Mapping]]:
    """Records by setting, each group sorted by seed.

    Raises ``RecordError`` when a setting holds one seed twice, or stand-in data.
    """
    groups: dict[tuple, list[Mapping]] = {}
    for record in sorted(records, key=lambda r: r["seed"]):
        if record["data"]["stand_in"]:
            raise RecordError(
                f"run {record['identity']['id']} used stand-in data: not a result"
            )
        groups.setdefault(setting(record), []).append(record)
    for key, members in groups.items():
        seeds = [r["seed"] for r in members]
        if len(set(seeds)) < len(seeds):
            raise RecordError(f"a seed occurs twice in setting {key}: {seeds}")
    return groups


def tidy(records: Sequence[Mapping]) -> list[dict[str, object]]:
    """One row an arm and metric: setting, seed, run, arm, share of the test set that is
    attacked, metric, value. "partition" is an arm of its own, and so is each stage,
    with its seconds."""
    rows = []
    for record in records:
        run = dict(zip(SETTING, setting(record), strict=True))
        run |= {"seed": record["seed"], "run": record["identity"]["id"]}
        scored = [(arm, 0.0, scores) for arm, scores in record["arms"].items()]
        scored += [
            (arm, float(rate), scores)
            for arm, rates in record.get("attacked", {}).items()
            for rate, scores in rates.items()
        ]
        for arm, rate, scores in scored:
            rows += [
                run
                | {"arm": arm, "test_attack": rate}
                | {"metric": metric, "value": scores[metric]}
                for metric in METRICS
                if metric in scores
            ]
        found = record.get("partition", {}).get("detection", {})
        other = [("partition", metric, value) for metric, value in found.items()]
        other += [
            (stage, "stage seconds", seconds)
            for stage, seconds in record.get("seconds", {}).items()
        ]
        rows += [
            run | {"arm": arm, "test_attack": 0.0, "metric": metric, "value": value}
            for arm, metric, value in other
        ]
    return rows


TIDY = (*SETTING, "seed", "run", "arm", "test_attack", "metric", "value")


def values(
    members: Sequence[Mapping], arm: str, metric: str = "accuracy"
) -> list[float]:
    """One metric of one arm over the seeds of a setting."""
    return [record["arms"][arm][metric] for record in members]


def paired(
    members: Sequence[Mapping], arm: str, other: str, metric: str = "accuracy"
) -> Interval:
    """``arm`` minus ``other``, paired by seed (they share data, noise and start)."""
    first, second = values(members, arm, metric), values(members, other, metric)
    return interval([a - b for a, b in zip(first, second, strict=True)])


def verdict(difference: Interval) -> str:
    """ "ahead", "behind" or "inconclusive": whether the interval leaves out zero."""
    if difference.n < 2 or difference.low <= 0 <= difference.high:
        return "inconclusive"
    return "ahead" if difference.mean > 0 else "behind"


def arms_table(members: Sequence[Mapping], also: Sequence[str] = ()):
    """A pandas table, one row an arm: accuracy with its interval, the difference to
    retrain paired by seed and its verdict, samples and seconds of training; before
    these two the means of the metrics named by ``also``."""
    import pandas as pd

    rows = {}
    for arm in members[0]["arms"]:
        row = {"accuracy %": interval(values(members, arm)).percent()}
        if arm != "retrain":
            gain = paired(members, arm, "retrain")
            row |= {"minus retrain, points": gain.points(), "verdict": verdict(gain)}
        for name in also:
            row[f"{name} %"] = f"{100 * np.mean(values(members, arm, name)):.1f}"
        for name in ("samples", "seconds"):
            row[name] = round(float(np.mean(values(members, arm, name))))
        rows[arm] = row
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def partition_table(members: Sequence[Mapping]):
    """A pandas table, one column a seed: what the partition found, and how well it and
    simpler scores find the corrupted samples (AUROC)."""
    import pandas as pd

    columns = {}
    for record in members:
        found = record["partition"]["detection"]
        column = {
            "kept": f"{found['retained']:,}",
            "purity of the kept part": f"{found['purity']:.1%}",
            "clean samples kept": f"{found['recall_clean']:.1%}",
            "Ashman's D": f"{record['partition']['diagnostics']['separation']:.2f}",
        }
        for name, area in record["partition"]["auroc"].items():
            column[f"AUROC, {name}"] = f"{area[0]:.3f}"
        columns[f"seed {record['seed']}"] = column
    return pd.DataFrame(columns)


def counted(n: int, what: str) -> str:
    """ "1 seed", "3 seeds"."""
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def provenance_line(members: Sequence[Mapping]) -> str:
    """Where the numbers of a setting come from, in one line."""
    first = members[0]
    where = first["provenance"]
    seeds = ", ".join(str(r["seed"]) for r in members)
    commits = sorted({r["provenance"]["commit"] for r in members})
    return (
        f"{first['tier']} tier, {first['protocol']} protocol, "
        f"{first['data']['n_train']:,} samples of {first['data']['name']}, "
        f"seeds {seeds};\n"
        f"code {', '.join(commits)}, torch {where['environment']['torch']}, "
        f"{where['device']}, {where['threads']} threads"
    )
