"""What the records say of a finding that no field of a protocol measures alone.

Each function takes the evidence and returns lines of plain text, none where nothing was
run. ``differences.yml`` names them (``records:``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean

from rlap.corruption.corrupted import INPUT_KINDS
from rlap.experiments.protocol import CIFAR10, PROTOCOLS
from rlap.ledger.claims import FAIR_AUROC, RIVALS
from rlap.ledger.evidence import CLAMPED, FULL, Evidence, headline
from rlap.ledger.quantities import (
    accuracy,
    auroc,
    cleaner_part_gains,
    gap,
    saved_an_epoch,
    saved_in_all,
)
from rlap.ledger.summary import counted, interval

LEVEL = 2.0  # of Table 4


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
    for protocol, scale in named_places(evidence):
        settings = evidence.settings(protocol, scale)
        runs = [r for s in settings for r in evidence.at(protocol, scale, s).values()]
        told = [r for r in runs if is_noisy_images(r) and auroc(r) >= FAIR_AUROC]
        if told:
            wrong = sum(not r["partition"]["oriented_right"] for r in told)
            lines.append(
                f"{protocol}, {scale}: where the noise of images is found (area "
                f"{FAIR_AUROC} and more), {wrong} of {counted(len(told), 'run')} keep "
                "the noisy part"
            )
        at_head = evidence.at(protocol, scale, headline()).values()
        found = [cleaner_part_gains(r) for r in at_head]
        found = [v for v in found if v is not None]
        if found:
            lines.append(
                f"{protocol}, {scale}, at the headline: F-FT on the cleaner part minus "
                f"F-FT on the other, in one run: {interval(found).points()} points, "
                f"n = {len(found)}"
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


def heads(evidence: Evidence) -> list[str]:
    """What head fine-tuning saves an epoch with pruning and without."""
    lines = []
    for protocol, scale, runs in at_headline(evidence):
        pairs = [
            (saved_an_epoch("L-FT")(r), saved_an_epoch("L-FT/none")(r)) for r in runs
        ]
        pairs = [pair for pair in pairs if None not in pair]
        if pairs:
            own, plain = (fmean(column) for column in zip(*pairs, strict=True))
            lines.append(
                f"{protocol}, {scale}: of retraining's seconds an epoch L-FT saves "
                f"{own:.0%}, head fine-tuning without pruning {plain:.0%}; "
                f"n = {len(pairs)}"
            )
    return lines


FINDINGS: dict[str, Callable[[Evidence], list[str]]] = {
    f.__name__: f
    for f in (identity, choice, kept, spread, columns, labels, seconds, heads)
}


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


def named_places(evidence: Evidence) -> list[tuple[str, str]]:
    """Named protocols and scales that were run."""
    return [place for place in evidence.files if place[0] in PROTOCOLS]


def at_headline(
    evidence: Evidence,
) -> Iterator[tuple[str, str, Sequence[Mapping]]]:
    """Protocol, scale and the records of the headline setting."""
    for place in named_places(evidence):
        if runs := evidence.at(*place, headline()):
            yield *place, list(runs.values())
