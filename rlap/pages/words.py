"""How numbers and names are written in the book: one word for one thing."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from statistics import fmean

from rlap.experiments.parameters import StudyParameters
from rlap.figures.said import MINUS, in_words, said
from rlap.ledger import summary
from rlap.ledger.cells import FULL, Setting
from rlap.ledger.summary import Interval, counted
from rlap.wording import SPACE

NETWORKS = {
    "small": "small network",
    "vgg": "VGG-like network",
    "resnet18": "ResNet-18",
    "vit": "small transformer",
}
NARROW = {"resnet18-16": "narrow ResNet-18"}
MODELS = NETWORKS | NARROW | {"speech_cnn": "speech network"}
DATA = {"cifar10": "CIFAR-10", "cifar10n": "CIFAR-10 with human labels",
        "speech_commands": "spoken keywords"}  # fmt: skip
# arms that few pages name, and the part of the samples or what was pruned
ARMS = {
    "initial decayed": "training from scratch on all images, decaying rate",
    "retrain decayed": "retraining, decaying rate",
    "retrain short": "retraining, as many epochs as F-FT",
    "retrain all": "training from scratch on all images, as many epochs as F-FT",
    "pruned+continue": "pruned, then continued training",
    "recalibrated": "BatchNorm re-estimated",
}
PARTS = {
    "none": "nothing pruned",
    "random": "random units",
    "random subset": "random part",
    "clean subset": "truly clean part",
    "trivial subset": "part kept by counting pixels",
    "wrong cluster": "the other part",
}
# of protocols: what a field is called -> what it is about
FIELDS = {
    "cluster": "the part that is kept",
    "target": "the regression's target",
    "bias": "the pruned units' bias",
    "mask": "the mask",
    "redraw": "noise drawn anew",
    "shuffle": "shuffling",
    "head_batchnorm": "BatchNorm in L-FT",
    "decay": "decay of the rate",
    "augment": "crops and flips",
    "finetune_decay": "decay in fine-tuning",
    "retrain_epochs": "epochs of retraining",
    "roles": "sets of the criteria",
    "equal_pruning": "units of the criteria",
    "standardise": "standardised slopes",
    "covariance": "covariance",
    "start": "start of the mixture",
    "attribution": "attribution",
    "head": "layers of L-FT",
    "frames": "frames",
    "split": "split of the clips",
    "monitor": "what the rate follows",
    "retrain_mode": "mode of retraining",
}
VALUES = {"true": "yes", "false": "no", "one": "component 1", "onecycle": "one cycle",
          "truth": "by the truth", "confidence": "by confidence", "diag": "diagonal",
          "total": "total attribution", "kmeans": "k-means",
          "gradient_x_activation": "gradient times activation",
          "gradient_x_activation_predicted": "of the predicted class",
          "gradient_x_activation_label": "of the given label",
          "loss_gradient_x_activation": "of the loss"}  # fmt: skip
# of the paper's Table 2: by what of a unit's activation it ranks
CRITERIA = {"abs": "mean size", "rms": "root mean square", "freq": "how often positive",
            "std": "standard deviation"}  # fmt: skip
TINY = re.compile(r"\b(\d(?:\.\d+)?)e([-−]\d+)\b")
RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
SCALE = re.compile(r"\bsmall(?:/[a-z0-9-]+)?(?:\+\w+=[\w.]+)*(?![\w/+=])")


def arm(name: str) -> str:
    """ "continue" is "continued training", "F-FT/none" is "F-FT, nothing pruned"."""
    head, _, rest = name.partition("/")
    shown = ARMS.get(head) or said(head)
    return f"{shown}, {PARTS.get(rest, rest)}" if rest else shown


def fixed(value: float | None, digits: int, *, sign: bool = False) -> str:
    """A number with a true minus, never "-0.0"; "" for none."""
    if value is None or math.isnan(value):
        return ""
    return summary.fixed(value, digits, sign=sign).replace("-", MINUS)


def percent(share: float | None, digits: int = 1) -> str:
    """0.52 is "52.0 %"."""
    text = fixed(None if share is None else 100 * share, digits)
    return f"{text}{SPACE}%" if text else ""


def points(share: float | None) -> str:
    """A difference of fractions in percentage points: "−2.4"."""
    return fixed(None if share is None else 100 * share, 1, sign=True)


def bounded(mean: str, low: str, high: str) -> str:
    """ "−2.4 [−7.3, +2.5]"; without the brackets where there is no interval, or all of
    it is nought."""
    nought = low == high == mean and set(mean) <= set("0.")
    return f"{mean} [{low}, {high}]" if low and not nought else mean


NO_GAP = "none"  # no seed shows any


def gap(found: Interval) -> str:
    """An interval of differences, in points."""
    ends = (found.low, found.high) if found.n > 1 else (found.mean,)
    if not any(ends):
        return NO_GAP
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


def scale(name: str) -> str:
    """A scale in words.

    >>> scale("small/resnet18-16+epochs=20+finetune_epochs=10")
    'narrow ResNet-18 (20 + 10 epochs)'
    """
    place, *changes = name.split("+")
    tier, _, model = place.partition("/")
    asked = dict(change.partition("=")[::2] for change in changes)
    epochs = [asked.pop(k) for k in ("epochs", "finetune_epochs") if k in asked]
    other = [f"{key.replace('_', ' ')} {value}" for key, value in asked.items()]
    told = [f"{' + '.join(epochs)} epochs"] * bool(epochs) + other
    shown = NARROW.get(model, f"{tier}, {model}" if model else tier)
    if model in NARROW and tier != "small":
        shown = f"{tier}, {shown}"
    return f"{shown} ({', '.join(told)})" if told else shown


def run(protocol: str, tier: str) -> str:
    """Where something was run: "controlled, narrow ResNet-18"."""
    return f"{protocol}, {scale(tier)}"


def change(what: str) -> str:
    """A field of a protocol and its value, as it is said.

    >>> change("decay=onecycle"), change("decay")
    ('decay of the rate: one cycle', 'decay of the rate')
    """
    field, _, value = what.partition("=")
    shown = FIELDS.get(field, field)
    told = VALUES.get(value, value)
    if field == "retrain_epochs" and value:
        told = {"initial": "as the initial network", "total": "in total"}[value]
    return f"{shown}: {told}" if value else shown


def setting(setting: Setting, scale: str) -> str:
    """Data and noise in words: "12,500 images (paper: 50,000), level 8, half noisy"."""
    where = images(setting, scale) or "spoken keywords"
    return ", ".join([where, *setting.noise()])


def spaced(text: str) -> str:
    """A sentence in which no line divides a number from its per cent."""
    return re.sub(r"(?<=\d) ?%", f"{SPACE}%", text)


def told(text: str) -> str:
    """A sentence of the ledger in the book's words, with true minus signs."""
    text = re.sub(r"\barea\b", "AUROC", in_words(text))
    text = re.sub(r"\b(initial network) network\b", r"\1", text)  # said already
    text = TINY.sub(power, text)
    return spaced(SCALE.sub(lambda found: scale(found[0]), text))


def power(found: re.Match) -> str:
    """ "1.1e-06" is "1.1·10⁻⁶"."""
    raised = str(int(found[2].replace(MINUS, "-"))).translate(RAISED)
    return f"{found[1]}·10{raised}"


PLACED = ("", " images", " images", "level ", "share ", "share ")  # by table


def placed(found: re.Match) -> str:
    """ "Table 3 at 8" is "Table 3 at level 8"."""
    unit, value = PLACED[int(found[1])], found[2]
    return f"Table {found[1]} at {value + unit if unit[0] == ' ' else unit + value}"


def printed(text: str) -> str:
    """A remark on the paper's numbers in the book's words.

    >>> printed("table 1 at 12500 and table 3 at 8: 16 numbers are printed alike")
    'Table 1 at 12,500 images and Table 3 at level 8: 16 numbers are printed alike'
    """
    text = text.replace("speech_commands_10", "speech")
    text = re.sub(r"\btable (?=\d)", "Table ", text)
    text = re.sub(r"Table ([1-5]) at (\d+(?:\.\d+)?)", placed, text)
    return re.sub(r"(?<![\d.])(\d\d)([05]00|000)\b", r"\1,\2", text)


def network(model: str, tier: str, strength: float | None = None) -> str:
    """The network and tier of runs on forgetting, with the strength of a penalty."""
    told = f"{NETWORKS.get(model, model)}, {tier} tier"
    return told if strength is None else f"{told}, λ = {strength:g}"


def amount(unit: str, value: float | None, *, sign: bool = True) -> str:
    """A number of the ledger in its unit, without the unit's name."""
    forms = {"points": (100, 1), "share": (100, 0), "ms": (1000, 1), "s": (1, 2)}
    forms |= {"correlation": (1, 3), "percent": (1, 1), "": (1, 2), "scale": (1, 2)}
    factor, digits = forms.get(unit, (1, 3))
    plus = sign and unit in ("points", "correlation", "scale")
    return fixed(None if value is None else factor * value, digits, sign=plus)


UNITS = {"points": " points", "share": f"{SPACE}%", "ms": f"{SPACE}ms",
         "scale": " on a scale from 0 to 1",
         "deviations": " standard deviations"}  # fmt: skip


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
