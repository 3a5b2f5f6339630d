"""What the records say of a finding that no field of a protocol measures alone.

Each function takes the evidence and returns lines of plain text, none where nothing was
run. ``differences.yml`` names them (``records:``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean

from rlap.experiments.claims import RIVALS
from rlap.experiments.evidence import (
    CLAMPED,
    FULL,
    Evidence,
    headline,
)
from rlap.experiments.protocol import CIFAR10, PROTOCOLS
from rlap.experiments.quantities import (
    accuracy,
    auroc,
    gap,
    one_part_is_purer,
    saved_an_epoch,
    saved_in_all,
)
from rlap.experiments.summary import counted, interval

LEVEL = 2.0  # of Table 4
FOUND = 0.9  # area under the ROC curve of a partition that finds the noise


def identity(evidence: Evidence) -> list[str]:
    """How far the gradient attribution is from the activation, rescaled."""
    found = [r["identity_difference"] for r in evidence if "identity_difference" in r]
    if not found:
        return []
    return [
        f"the two differ by at most {max(found):.1e} in {counted(len(found), 'run')}"
    ]


def choice(evidence: Evidence) -> list[str]:
    """How often the released rule keeps the worse part, and what F-FT is worth where
    the noise was found but the wrong part kept."""
    lines = []
    for scale, runs in named(evidence, "released"):
        told = [r for r in runs if one_part_is_purer(r)]
        wrong = sum(not r["partition"]["oriented_right"] for r in told)
        gains: dict[bool, list[float]] = {True: [], False: []}
        for record in told:
            gain = gap("F-FT", "initial")(record)
            if auroc(record) >= FOUND and gain is not None:
                gains[record["partition"]["oriented_right"]].append(100 * gain)
        if not told:
            continue
        words = {
            right: f"{fmean(v):+.1f} (n = {len(v)})" if v else "not seen"
            for right, v in gains.items()
        }
        lines.append(
            f"released, {scale}: {wrong} of {counted(len(told), 'run')} keep the less "
            f"clean part. Where the noise is found (area {FOUND} and more), F-FT minus "
            f"initial: {words[False]} with the noisy part kept, {words[True]} with the "
            "clean one"
        )
    return lines


def kept(evidence: Evidence) -> list[str]:
    """How much more than the clean samples is kept, by their share."""
    lines = []
    for protocol, scale in named_places(evidence):
        parts = []
        for setting in sorted(evidence.settings(protocol, scale), key=lambda s: s.rate):
            here = (setting.dataset, setting.kind, setting.level, setting.size)
            runs = list(evidence.at(protocol, scale, setting).values())
            if here != (CIFAR10, CLAMPED, LEVEL, FULL) or not runs:
                continue
            times = fmean(r["partition"]["detection"]["retained"] / clean(r)
                          for r in runs)  # fmt: skip
            purity = fmean(r["partition"]["detection"]["purity"] for r in runs)
            parts.append(
                f"{times:.1f} at rate {setting.rate:g} ({purity:.0%} of them clean, "
                f"n = {len(runs)})"
            )
        if parts:
            lines.append(
                f"{protocol}, {scale}, level {LEVEL:g}: kept samples over clean ones "
                + ", ".join(parts)
            )
    return lines


def spread(evidence: Evidence) -> list[str]:
    """Between which ends a single run may fall."""
    lines = []
    for protocol, scale, runs in at_headline(evidence):
        gaps = [gap("F-FT", "retrain")(r) for r in runs]
        if len(gaps) > 1:
            lines.append(
                f"{protocol}, {scale}: F-FT minus retrain from {100 * min(gaps):+.1f} "
                f"to {100 * max(gaps):+.1f} points over {counted(len(gaps), 'seed')}"
            )
    return lines


def columns(evidence: Evidence) -> list[str]:
    """Initial models of different seeds beside criteria that share one."""
    lines = []
    for protocol, scale, runs in at_headline(evidence):
        start = [accuracy(r, "initial") for r in runs]
        tuned = [by_criterion(r) for r in runs]
        within = [max(v) - min(v) for v in tuned if len(v) > 1]
        if len(start) > 1 and within:
            lines.append(
                f"{protocol}, {scale}: initial models range over "
                f"{100 * (max(start) - min(start)):.1f} points between "
                f"{counted(len(start), 'seed')}; F-FT by "
                f"{max(map(len, tuned))} criteria over at most "
                f"{100 * max(within):.1f} in a run"
            )
    return lines


def labels(evidence: Evidence) -> list[str]:
    """The same method where labels are wrong."""
    lines = []
    for protocol, scale in named_places(evidence):
        for setting in evidence.settings(protocol, scale):
            runs = list(evidence.at(protocol, scale, setting).values())
            if setting.kind != "symmetric_exclusive" or not runs:
                continue
            area = interval([auroc(r) for r in runs])
            gain = interval([gap("F-FT", "initial")(r) for r in runs])
            lines.append(
                f"{protocol}, {scale}, {setting.rate:.0%} wrong labels: area under "
                f"the ROC curve {area.mean:.2f}, F-FT minus initial {gain.points()} "
                f"points, n = {gain.n}"
            )
    return lines


def seconds(evidence: Evidence) -> list[str]:
    """What an arm saves of retraining's seconds, an epoch and in all."""
    lines = []
    for protocol, scale, runs in at_headline(evidence):
        told = []
        for arm in ("L-FT", "F-FT"):
            pairs = [(saved_an_epoch(arm)(r), saved_in_all(arm)(r)) for r in runs]
            pairs = [pair for pair in pairs if None not in pair]
            if pairs:
                epoch, all_in_all = (fmean(c) for c in zip(*pairs, strict=True))
                told.append(f"{arm} {epoch:.0%} an epoch, {all_in_all:.0%} in all")
        if told:
            lines.append(
                f"{protocol}, {scale}: saved of retraining's seconds: "
                f"{'; '.join(told)}; n = {len(runs)}"
            )
    return lines


FINDINGS: dict[str, Callable[[Evidence], list[str]]] = {
    f.__name__: f for f in (identity, choice, kept, spread, columns, labels, seconds)
}


def clean(record: Mapping) -> float:
    """How many training samples are clean."""
    return (1 - record["noise"]["realised_rate"]) * record["data"]["n_train"]


def by_criterion(record: Mapping) -> list[float]:
    """F-FT of the paper's criterion and of its rivals, as far as a record has them."""
    arms = ("F-FT", *(f"F-FT/{rival}" for rival in RIVALS))
    return [accuracy(record, arm) for arm in arms if arm in record["arms"]]


def named_places(evidence: Evidence) -> list[tuple[str, str]]:
    """Named protocols and scales that were run."""
    return [place for place in evidence.files if place[0] in PROTOCOLS]


def named(evidence: Evidence, protocol: str) -> Iterator[tuple[str, list[Mapping]]]:
    """Scale and all records of a protocol, whatever their setting."""
    for name, scale in evidence.files:
        if name == protocol:
            settings = evidence.settings(name, scale)
            yield (
                scale,
                [r for s in settings for r in evidence.at(name, scale, s).values()],
            )


def at_headline(
    evidence: Evidence,
) -> Iterator[tuple[str, str, Sequence[Mapping]]]:
    """Protocol, scale and the records of the headline setting."""
    for place in named_places(evidence):
        if runs := evidence.at(*place, headline()):
            yield *place, list(runs.values())
