"""What came of forgetting, in numbers and in words: the account by ``forget``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from rlap.data.base import Split
from rlap.metrics import Z95
from rlap.training.inference import predict
from rlap.unlearning.choosing import Row, both
from rlap.unlearning.common.begin import last_layer, same_answers
from rlap.unlearning.common.splits import ForgettingData
from rlap.unlearning.examiner.attacks import LossAttack, loss_attack
from rlap.unlearning.examiner.probes import probe
from rlap.unlearning.examiner.relearning import relearn
from rlap.unlearning.registry import METHODS
from rlap.wording import in_brief

FEWEST = 3  # samples of a class: to look at, to choose by, to judge by, to probe with


@dataclass(frozen=True)
class Forgotten:
    """What ``forget`` came to; printed, it tells.

    Attributes:
        model: the new model where it was accepted; else the caller's own.
        accepted: whether the class is recognised less often now, by more than the
            others are, and they within the budget. Of samples by more than may be
            chance (95 %), or else their loss tells them so much less well: of three
            or fewer, answers alone show nothing.
        word: what happened, in a sentence; "in part" where the class is recognised
            more often than by guessing, or the loss still tells the samples, surely,
            from samples never trained on.
        setting: the options that were chosen.
        before, after: accuracy on held-out samples that chose nothing, of the class
            ("forget") and of the others ("retain"). Where samples were forgotten, on
            these and on held-out ones.
        counts: of how many samples each.
        tried: every setting, with both accuracies on the samples that chose.
        probe: accuracy on the class of a linear probe of the features, before and
            after; None where the logits are no nn.Linear's, and of samples.
        relearned: how far the class comes back in 60 steps on 50 samples of each class
            (see ``Relearning.back``); 1 was never gone; None of samples.
        untold: why ``relearned`` is None of a class, else "".
        worst: the other class that lost most, with its accuracy before and after; None
            where none lost any, and of samples.
        past: names of trained layers that a method for all layers cannot edit, such as
            the recurrent ones by a projection.
        membership: of samples, with which AUROC their loss tells them from held-out
            ones, before and after; 0.5 is not at all.

    >>> from rlap.unlearning import forget
    >>> found = forget(model, data, 0, method="logit_mask", share=0.5)
    >>> found.accepted, found.model is model
    (True, False)
    """

    model: nn.Module
    accepted: bool
    word: str
    setting: dict[str, Any]
    before: dict[str, float]
    after: dict[str, float]
    counts: dict[str, int]
    tried: list[Row]
    probe: tuple[float, float] | None = None
    relearned: float | None = None
    untold: str = ""
    worst: tuple[int, float, float] | None = None
    membership: tuple[float, float] | None = None
    past: tuple[str, ...] = ()

    __repr__ = in_brief

    @property
    def cost(self) -> float:
        """Accuracy that the others lost."""
        return self.before["retain"] - self.after["retain"]

    def __str__(self) -> str:
        ours, others = self.counts["forget"], self.counts["retain"]
        names = ("the class", "the others")
        told = f"on held-out samples, {ours:,} of the class and {others:,} others"
        if self.membership is not None:
            names = ("these samples", "held-out ones")
            told = f"on {ours:,} and {others:,} samples"
        pairs = [(self.before[k], self.after[k]) for k in ("forget", "retain")]
        rows = dict(zip(names, pairs, strict=True))
        if self.worst is not None:
            rows[f"of these class {self.worst[0]} lost most"] = self.worst[1:]
        if self.probe is not None:
            rows["the class, by a probe of the features"] = self.probe
        lines = [f"{self.word}. Accuracy {told}:"]
        lines += [f"  {name}: {b:.1%} -> {a:.1%}" for name, (b, a) in rows.items()]
        if self.relearned is not None:
            lines.append(f"  relearned: {self.relearned:.0%} (100%: it was never gone)")
        elif self.untold:
            lines.append(f"  relearned: not told, {self.untold}")
        if self.membership is not None:
            before, after = self.membership
            lines.append(
                f"  told from held-out ones by their loss, AUROC: "
                f"{before:.2f} -> {after:.2f} (0.50: not at all)"
            )
        if self.past:
            lines.append(f"  layers that it cannot edit: {', '.join(self.past)}")
        return "\n".join(lines)


def account(
    model: nn.Module,
    new: nn.Module,
    data: ForgettingData,
    *,
    method: str,
    budget: float,
    seed: int,
    setting: Mapping[str, Any],
    tried: list[Row],
    past: tuple[str, ...],
) -> Forgotten:
    """What the test samples of ``data`` say of ``new``, and whether it is to be had."""
    judged = Judged.of(model, new, data)
    known = judged.of_samples() if data.samplewise else of_class(judged, seed)
    done, word = judged.verdict(method, budget)
    return Forgotten(
        new if done else model,
        done,
        word,
        dict(setting),
        judged.before,
        judged.after,
        {"forget": len(data.forget_test), "retain": len(data.retain_test)},
        tried,
        past=past,
        **known,
    )


def exceeds(before: Mapping[str, float], after: Mapping[str, float], budget: float):
    """Whether the others lost more than they may; as much is allowed."""
    return round(before["retain"] - after["retain"] - budget, 9) > 0


@dataclass(frozen=True)
class Judged:
    """A model before and after, with its accuracies and, where samples were forgotten,
    how their loss tells them from held-out ones."""

    model: nn.Module
    new: nn.Module
    data: ForgettingData
    before: dict[str, float]
    after: dict[str, float]
    attacks: tuple[LossAttack, ...]

    @classmethod
    def of(cls, model: nn.Module, new: nn.Module, data: ForgettingData) -> Judged:
        """Both models asked."""
        nets, attacks = (model, new), ()
        if data.samplewise:
            told = ForgettingData(
                (), data.forget, data.retain, data.retain_test, data.retain_test
            )
            attacks = tuple(loss_attack(net, told) for net in nets)
        return cls(*nets, data, *(both(net, data) for net in nets), attacks)

    def of_samples(self) -> dict[str, Any]:
        """What is known of samples beyond answers."""
        return {"membership": tuple(found.auc for found in self.attacks)}

    def verdict(self, method: str, budget: float) -> tuple[bool, str]:
        """Whether the new model is to be had, and what happened in a sentence."""
        kept, name = "; the model is kept", named(self.data)
        if same_answers(self.model, self.new, self.data.forget.inputs):
            word = f"{method} did not forget {name}: it changed nothing"
            return False, f"{word}{self.hint(method)}{kept}"
        if self.attacks and (reason := self.samples_as_before()):
            return False, f"that {method} forgot {name} does not show: {reason}{kept}"
        if not self.attacks and (reason := self.class_as_before()):
            word = f"{method} did not forget {name}: {reason}"
            return False, f"{word}{self.hint(method)}{kept}"
        word = f"{method} forgot {name}{self.manner()}"
        if exceeds(self.before, self.after, budget):
            cost = self.before["retain"] - self.after["retain"]
            cost, allowed = told_apart(cost, budget)
            told = f"it cost the others {cost} where {allowed} are allowed"
            return False, f"{word}, but {told}{kept}"
        return True, word

    def hint(self, method: str) -> str:
        """What the method says of such data, in brackets, or ""."""
        hint = METHODS[method].hint(self.data)
        return hint and f" ({hint})"

    def class_as_before(self) -> str:
        """Why the class is not forgotten, or ""."""
        was, now = self.before["forget"], self.after["forget"]
        others = self.before["retain"] - self.after["retain"]
        if was == 0:
            return "it was never recognised"
        if now >= was:
            return f"it is recognised as before, {was:.1%} and now {now:.1%}"
        if round(others - (was - now), 9) >= 0:
            return f"it lost {was - now:.1%} and the others no less, {others:.1%}"
        return ""

    def samples_as_before(self) -> str:
        """Why the samples are not seen to be forgotten, or "": neither did they lose
        more answers than held-out ones, nor does the loss tell them less well that
        surely told them, by more than may be chance."""
        if self.lost_more() or self.told_less():
            return ""
        was, now = self.before["forget"], self.after["forget"]
        others = self.before["retain"] - self.after["retain"]
        said = f"they are answered as before, {was:.1%} and now {now:.1%}, and told"
        if now < was:
            said = (
                f"that they lost {was - now:.1%} and held-out ones {others:.1%} may be "
                "chance, and they are told"
            )
        first, then = (found.auc for found in self.attacks)
        return (
            f"{said} from held-out ones with an AUROC of {first:.2f} and now {then:.2f}"
        )

    def lost_more(self) -> bool:
        """Whether the samples surely lost more right answers than held-out ones did.
        Each set counts as if an answer more had changed either way: of a few, all alike
        say little. Source: Agresti and Min (2005)."""
        lost, error = [], 0.0
        for split in (self.data.forget_test, self.data.retain_test):
            was, now = (
                (predict(net, split.inputs).argmax(1).cpu() == split.labels.cpu())
                for net in (self.model, self.new)
            )
            each = was.double() - now.double()
            each = torch.cat([each, each.new_tensor([1.0, -1.0])])
            lost.append(each.mean().item())
            error += each.var(correction=0).item() / len(each)
        return lost[0] - lost[1] > Z95 * error**0.5

    def told_less(self) -> bool:
        """Whether the loss surely told the samples, and surely tells them less well."""
        first, then = self.attacks
        error = math.hypot(*((a.auc_high - a.auc_low) / 2 for a in self.attacks))
        nearer = abs(first.auc - 0.5) - abs(then.auc - 0.5)
        return first.auc_low > 0.5 and nearer > error

    def manner(self) -> str:
        """How well: of samples, by whether their loss is surely still the lower one, or
        now surely the higher one."""
        if not self.attacks:
            guessing = 1 / self.data.num_classes
            return " in part" if self.after["forget"] > guessing else ""
        first, then = self.attacks
        if then.auc_low > 0.5:
            return " in part"
        worse = then.auc_high < 0.5 <= first.auc_high
        return ", too well: they are now told by worse answers" if worse else ""


def told_apart(one: float, other: float) -> tuple[str, str]:
    """Two shares in per cent, with as many digits as tell them apart, at least one.

    >>> told_apart(0.07, 0.05), told_apart(0.0504, 0.05)
    (('7.0%', '5.0%'), ('5.04%', '5.00%'))
    """
    for digits in range(1, 8):
        shown = f"{one:.{digits}%}", f"{other:.{digits}%}"
        if shown[0] != shown[1]:
            break
    return shown


def named(data: ForgettingData) -> str:
    """What is to be forgotten."""
    if not data.samplewise:
        *first, last = map(str, data.labels)
        return f"classes {', '.join(first)} and {last}" if first else f"class {last}"
    return f"{len(data.forget)} sample{'s' if len(data.forget) > 1 else ''}"


def of_class(judged: Judged, seed: int) -> dict[str, Any]:
    """What is known of a class beyond answers: probe, relearning, the worst of the
    others; ``untold`` where there is no telling."""
    data, nets = judged.data, (judged.model, judged.new)
    found: dict[str, Any] = {"worst": most_lost(*nets, data.retain_test)}
    counts = data.forget.labels.bincount(minlength=data.num_classes)
    few = {c: int(counts[c]) for c in data.labels if counts[c] < FEWEST}
    if few:
        label, count = next(iter(few.items()))
        told = f"of class {label} there are {count} to learn from"
        return {**found, "untold": told}
    if last_layer(judged.new, data.forget.inputs[:1])[1] is not None:
        tests = (probe(net, data, seed=seed).linear_forget for net in nets)
        found["probe"] = tuple(tests)
    if judged.before["forget"] == 0:
        return {**found, "untold": "it was never recognised"}
    if not any(p.requires_grad for p in judged.new.parameters()):
        return {**found, "untold": "all parameters are frozen"}
    half = {"target": judged.before["forget"] / 2, "keep": judged.before["retain"] / 2}
    back = relearn(judged.new, data, **half, seed=seed).numbers("relearned")
    found["relearned"] = back["relearned"]
    return (
        found if back["relearned"] is not None else {**found, "untold": "it diverged"}
    )


def most_lost(
    model: nn.Module, new: nn.Module, split: Split
) -> tuple[int, float, float] | None:
    """The class of ``split`` that lost most, its accuracy before and after; None where
    none lost any."""
    labels = split.labels.cpu()
    hits = [
        predict(net, split.inputs).argmax(1).cpu() == labels for net in (model, new)
    ]
    rows = [
        (int(c), *(right[labels == c].double().mean().item() for right in hits))
        for c in labels.unique()
    ]
    worst = max(rows, key=lambda row: row[1] - row[2])
    return worst if worst[1] > worst[2] else None
