"""What the page on the partition shows: does it find the noise, do simpler scores?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from rlap.experiments.protocol import CIFAR10, PROTOCOLS, SPEECH, changed_name
from rlap.ledger.cells import CLAMPED, FULL, Setting, headline
from rlap.ledger.claims.noise import LEVELS, RATES, SIZES
from rlap.ledger.claims.quantities import gap
from rlap.ledger.evidence import Evidence
from rlap.ledger.summary import interval
from rlap.ledger.verdicts import NOT_RUN
from rlap.pages.markup import of_interval, plain, table_of
from rlap.partition import STARTS

WHICHEVER = "partition"  # its area whichever part is called good
SCORES = (WHICHEVER, "low confidence", "loss", "low total attribution",
          "values at 0 or 1")  # fmt: skip
MOVED = {"start": "total"}
STARTED = {"kmeans": "k-means, as released", "total": "halves of the total attribution"}
TABLE_5 = 4.5  # the noise level of that table, which it does not name
# the arms by which a start is judged
SHOWN = ("continue", "initial decayed", "F-FT", "retrain")
PAIRS = (("F-FT", "continue"), ("retrain", "continue"), ("retrain", "initial decayed"))
LABELS = Setting(CIFAR10, "symmetric_exclusive", 0.4, None, FULL)

# what varies -> the settings by how the axis calls them
AXES: dict[str, dict[str, Setting]] = {
    "noise level": {
        f"{level:g}": Setting(CIFAR10, CLAMPED, 0.5, level, FULL)
        for level in sorted({*LEVELS, TABLE_5})
    },
    "share of noisy images": {
        f"{rate:g}": Setting(CIFAR10, CLAMPED, rate, 2.0, FULL) for rate in RATES
    },
    "training images": {
        f"{size / 1000:g}k": Setting(CIFAR10, CLAMPED, 0.5, 8.0, size)
        for size in sorted(SIZES)
    },
    "other noise": {"labels": LABELS, "speech": headline(SPEECH)},
}


def areas(record: Mapping) -> dict[str, float]:
    """Area under the ROC curve of each score as a detector of the noise.

    The partition's is taken whichever part is called good: that rule is judged by
    itself. So chance is a little above one half for it.
    """
    found = {name: area[0] for name, area in record["partition"]["auroc"].items()}
    found[WHICHEVER] = max(found[WHICHEVER], 1 - found[WHICHEVER])
    return {name: value for name, value in found.items() if not math.isnan(value)}


def panels(
    evidence: Evidence, protocol: str, tier: str
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Axis -> place -> score -> one area a seed; places without runs are left out."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for axis, places in AXES.items():
        for place, setting in places.items():
            runs = [areas(r) for r in evidence.at(protocol, tier, setting).values()]
            shown = {s: [a[s] for a in runs if s in a] for s in SCORES}
            if runs:
                here = {s: values for s, values in shown.items() if values}
                found.setdefault(axis, {})[place] = here
    return found


def parts(evidence: Evidence, tier: str) -> object:
    """A line a setting: how pure the kept part was, how much of the clean it kept."""
    settings = dict.fromkeys(s for places in AXES.values() for s in places.values())
    lines = []
    for setting in settings:
        for protocol in PROTOCOLS:
            runs = list(evidence.at(protocol, tier, setting).values())
            if runs:
                lines.append([escape(str(setting)), protocol, *kept(runs)])
    header = [
        "setting",
        "protocol",
        "seeds",
        "AUROC, whichever part",
        "kept the purer",
        "purity of the kept part",
        "clean samples kept",
        "clean in all",
    ]
    return table_of(header, lines)


def starts(evidence: Evidence, tier: str) -> object:
    """A line a setting and start: what the mixture finds from there, by the same
    networks."""
    settings = dict.fromkeys(s for places in AXES.values() for s in places.values())
    lines = []
    for setting in settings:
        for protocol in PROTOCOLS:
            # the same networks were partitioned by both protocols
            moved = evidence.at(changed_name(protocol, MOVED), tier, setting)
            noted = {
                seed: record["partition"]["starts"]
                for runs in (moved, evidence.at(protocol, tier, setting))
                for seed, record in runs.items()
                if "starts" in record["partition"]
            }
            both = list(noted.values())
            for start in STARTS if both else ():
                found = [s[start] for s in both if "error" not in s[start]]
                lines.append([escape(str(setting)), protocol, STARTED[start]])
                lines[-1] += found_from(found)
    header = [
        "setting",
        "protocol",
        "the fit starts from",
        "networks",
        "AUROC, whichever part",
        "told by the noise",
        "told by the class",
        "log-likelihood",
    ]
    return table_of(header, lines)


def found_from(found: Sequence[Mapping]) -> list[str]:
    """The cells of one line of ``starts``: means with the range over networks."""
    if not found:
        return ["0", "", "", "", ""]
    told = {k: [f["told_by"][k] for f in found] for k in ("noise", "class")}
    return [
        str(len(found)),
        spread([f["auroc"] for f in found], "{:.3f}"),
        spread(told["noise"], "{:.0%}"),
        spread(told["class"], "{:.0%}"),
        spread([f["log_likelihood"] for f in found], "{:.0f}"),
    ]


def worth(evidence: Evidence, tier: str) -> object:
    """What the arms come to from either start, where both were run: accuracies, and
    differences paired by seed."""
    lines = []
    for base in PROTOCOLS:
        for setting in evidence.settings(changed_name(base, MOVED), tier):
            for start, runs in from_both(evidence, tier, setting, base).items():
                lines.append([escape(str(setting)), base, start])
                lines[-1] += [str(len(runs)), *arms_of(runs)]
    header = ["setting", "protocol", "start", "seeds", *SHOWN]
    return table_of([*header, *(f"{a} minus {b}" for a, b in PAIRS)], lines)


def from_both(
    evidence: Evidence, tier: str, setting: Setting, base: str
) -> dict[str, list[Mapping]]:
    """Start -> runs of the seeds that both were run with; empty if there are none."""
    names = {"kmeans": base, "total": changed_name(base, MOVED)}
    runs = {k: evidence.at(n, tier, setting) for k, n in names.items()}
    seeds = sorted(runs["kmeans"].keys() & runs["total"].keys())
    return {k: [r[s] for s in seeds] for k, r in runs.items()} if seeds else {}


def start_words(
    evidence: Evidence, tier: str, setting: Setting, base: str = "controlled"
) -> dict[str, str]:
    """The same for a sentence: "kmeans auroc" -> "0.533 (0.500 to 0.580)",
    "total F-FT minus continue" -> "-0.2 [-0.3, -0.1]", and so on."""
    found = from_both(evidence, tier, setting, base)
    said = {}
    for start in STARTS:
        runs = found.get(start, [])
        area = [areas(r)[WHICHEVER] for r in runs]
        said[f"{start} auroc"] = spread(area, "{:.3f}") if runs else NOT_RUN
        cells = arms_of(runs)[len(SHOWN) :] if runs else [NOT_RUN] * len(PAIRS)
        for (one, other), cell in zip(PAIRS, cells, strict=True):
            said[f"{start} {one} minus {other}"] = cell or NOT_RUN
    return {k: plain(text) for k, text in said.items()}


def arms_of(runs: Sequence[Mapping]) -> list[str]:
    """The cells of one line of ``worth``; empty for an arm that some run lacks."""
    cells = []
    for arm in SHOWN:
        values = [r["arms"][arm]["accuracy"] for r in runs if arm in r["arms"]]
        full = len(values) == len(runs)
        cells.append(f"{100 * sum(values) / len(values):.1f}" if full else "")
    for one, other in PAIRS:
        gaps = [g for r in runs if (g := gap(one, other)(r)) is not None]
        cells.append(of_interval(interval(gaps)) if len(gaps) == len(runs) else "")
    return cells


def kept(runs: Sequence[Mapping]) -> list[str]:
    """The cells of one line of ``parts``: means with the range over seeds."""
    found = [r["partition"]["detection"] for r in runs]
    right = sum(r["partition"]["oriented_right"] for r in runs)
    clean = [1 - r["noise"]["realised_rate"] for r in runs]
    return [
        str(len(runs)),
        spread([areas(r)[WHICHEVER] for r in runs], "{:.3f}"),
        f"{right} of {len(runs)}",
        spread([d["purity"] for d in found], "{:.1%}"),
        spread([d["recall_clean"] for d in found], "{:.1%}"),
        f"{sum(clean) / len(clean):.0%}",
    ]


def spread(values: Sequence[float], form: str) -> str:
    """Mean and range, in ``form``."""
    mean = form.format(sum(values) / len(values))
    if len(values) == 1:
        return mean
    low, high = form.format(min(values)), form.format(max(values))
    return f"{mean} <small>({low} to {high})</small>"
