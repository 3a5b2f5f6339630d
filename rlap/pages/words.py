"""How numbers and names are written in the book: one word for one thing."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from statistics import fmean

from rlap.experiments.parameters import StudyParameters
from rlap.ledger.cells import CLAMPED, FULL, Setting
from rlap.ledger.summary import Interval, counted

MINUS, SPACE = "\u2212", "\u00a0"
# what the records call an arm -> what a reader is told (see the glossary)
ARMS = {
    "initial": "initial network",
    "retrain": "retraining",
    "continue": "training on",
}
NETWORKS = {
    "small": "small network",
    "vgg": "VGG-like network",
    "resnet18": "ResNet-18",
    "vit": "small transformer",
}
KINDS = {CLAMPED: "clamped noise", "gaussian": "noise on the features",
         "symmetric_exclusive": "wrong labels"}  # fmt: skip


def arm(name: str) -> str:
    """ "continue" is "training on", "F-FT/none" is "F-FT, nothing pruned"."""
    head, _, rest = name.partition("/")
    shown = ARMS.get(head, head)
    return f"{shown}, {'nothing pruned' if rest == 'none' else rest}" if rest else shown


def fixed(value: float | None, digits: int, *, sign: bool = False) -> str:
    """A number with a true minus, never "-0.0"; "" for none."""
    if value is None or math.isnan(value):
        return ""
    value = float(f"{value:.6g}")  # as the records have it: a tie rounds the same way
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    if not text.strip("+-0.,"):
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def percent(share: float | None, digits: int = 1) -> str:
    """0.52 is "52.0 %"."""
    text = fixed(None if share is None else 100 * share, digits)
    return f"{text}{SPACE}%" if text else ""


def points(share: float | None) -> str:
    """A difference of fractions in percentage points: "−2.4"."""
    return fixed(None if share is None else 100 * share, 1, sign=True)


def bounded(mean: str, low: str, high: str) -> str:
    """ "−2.4 [−7.3, +2.5]"; without the brackets where there is no interval."""
    return f"{mean} [{low}, {high}]" if low else mean


def gap(found: Interval) -> str:
    """An interval of differences, in points."""
    if found.n > 1 and found.low == found.high == 0:
        return "none"  # no seed shows any
    return bounded(*map(points, (found.mean, found.low, found.high)))


def accuracy(found: Interval) -> str:
    """An interval of fractions, in per cent without the sign."""
    cut = found.within(0.0, 1.0)
    return bounded(*(fixed(100 * v, 1) for v in (cut.mean, cut.low, cut.high)))


def spread(values: Sequence[float], digits: int = 2, scale: float = 1.0) -> str:
    """Mean and range: "0.54 (0.50 to 0.58)", or one number if they are alike."""
    if not values:
        return ""
    mean, low, high = (
        fixed(scale * v, digits) for v in (fmean(values), min(values), max(values))
    )
    return mean if low == high else f"{mean} ({low} to {high})"


def seconds(value: float) -> str:
    """Seconds to three digits."""
    return fixed(value, 1) if value >= 1 else f"{value:.2g}"


def images(setting: Setting, scale: str) -> str:
    """The training images of a setting at a scale, with the paper's where they differ:
    "12,500 images (paper: 50,000)"."""
    if setting.size is None:
        return ""
    tier = scale.partition("/")[0].partition("+")[0]
    full = StudyParameters(tier=tier).resolved().train_size
    true = round(setting.size * full / FULL)
    if true == setting.size:
        return f"{true:,} images"
    return f"{true:,} images (paper: {setting.size:,})"


def setting(setting: Setting, scale: str) -> str:
    """Data and noise in words: "12,500 images (paper: 50,000), level 8, half noisy"."""
    told = [images(setting, scale) or "spoken keywords"]
    if setting.kind not in (CLAMPED, "gaussian"):
        told.append(KINDS.get(setting.kind, setting.kind.replace("_", " ")))
    if setting.level is not None:
        told.append(f"level {setting.level:g}")
    told.append(f"{setting.rate:.0%} corrupted".replace("%", f"{SPACE}%"))
    return ", ".join(told)


def told(text: str) -> str:
    """A sentence of the ledger in the book's words, with true minus signs."""
    text = re.sub(r"(?<![\w.,])-(?=[\d.])", MINUS, text)
    return re.sub(r"\b(area under the (ROC )?curve|area)\b", "AUROC", text)


def network(model: str, tier: str, strength: float | None = None) -> str:
    """The network and tier of runs on forgetting, with the strength of a penalty."""
    told = f"{NETWORKS.get(model, model)}, {tier} tier"
    return told if strength is None else f"{told}, λ = {strength:g}"


def amount(unit: str, value: float | None, *, sign: bool = True) -> str:
    """A number of the ledger in its unit, without the unit's name."""
    forms = {"points": (100, 1), "share": (100, 0), "ms": (1000, 1), "s": (1, 2)}
    forms |= {"correlation": (1, 3), "percent": (1, 1), "": (1, 2)}
    factor, digits = forms.get(unit, (1, 3))
    plus = sign and unit in ("points", "correlation")
    return fixed(None if value is None else factor * value, digits, sign=plus)


UNITS = {"points": " points", "share": f"{SPACE}%", "ms": f"{SPACE}ms"}


def claim(row: Mapping) -> str:
    """What a claim came to: "−2.8 [−4.1, −1.5] points"."""
    told = bounded(*(amount(row["unit"], row[k]) for k in ("ours", "low", "high")))
    return told + UNITS.get(row["unit"], "") if told else "not run"


def made_from(records: Sequence[Mapping], grids: Sequence[str] = ()) -> str:
    """What a table or picture rests on, and the command that makes it again: "6
    records, seeds 0 to 2 · rlap sweep grids/table1.yaml -j 2"."""
    files = " ".join(f"grids/{name}.yaml" for name in grids)
    command = f"rlap sweep {files} -j 2" if grids else "rlap ledger"
    found = sorted({r["seed"] for r in records})
    told = counted(len(records), "record")
    if found:
        run = f"{found[0]} to {found[-1]}" if len(found) > 1 else f"{found[0]}"
        whole = len(found) in (1, found[-1] - found[0] + 1)
        shown = run if whole else ", ".join(map(str, found))
        told += f", seed{'s' if len(found) > 1 else ''} {shown}"
    return f"{told} · {command}"
