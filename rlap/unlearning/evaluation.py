"""One strict examiner for every unlearning method.

Everything is measured on the model and on models that were retrained without the class,
and the second is the standard: neither zero accuracy nor a high number is good by
itself. Nothing here chooses settings, and test samples serve for the account alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TypeVar

import torch
from torch import Tensor, nn

from rlap.checks import check_finite
from rlap.inference import predict
from rlap.unlearning.attacks import (
    Answers,
    loss_attack,
    mia_efficacy_svc_confidence,
    mia_logreg_entropy_member_rate,
    told_from_retrain_auc,
)
from rlap.unlearning.probes import probe, relearn
from rlap.unlearning.splits import ForgettingData

T = TypeVar("T")
GAP = ("ua", "ra", "ta", "mia_efficacy_svc_confidence")


def accuracies(
    model: nn.Module, data: ForgettingData, *, answers: Answers | None = None
) -> dict[str, float]:
    """Accuracy, in [0, 1], on forget and retain sets, train and test, and the field's
    names for them: ua = 1 - forget_train, ra = retain_train, ta = retain_test (test
    accuracy over the retained classes only)."""
    answers = answers or Answers(data)
    found = {
        "forget_train": answers.accuracy(model, "forget"),
        "retain_train": answers.accuracy(model, "retain"),
        "forget_test": answers.accuracy(model, "forget_test"),
        "retain_test": answers.accuracy(model, "retain_test"),
    }
    found["ua"] = 1 - found["forget_train"]
    found["ra"], found["ta"] = found["retain_train"], found["retain_test"]
    return found


def average_gap(row: Mapping[str, float], retrained: Mapping[str, float]) -> float:
    """Mean of |value - retrained| over ua, ra, ta and MIA-efficacy; lower is better."""
    return fmean(abs(row[name] - retrained[name]) for name in GAP)


def divergence(one: Tensor, other: Tensor) -> float:
    """Mean Jensen-Shannon divergence in nats, 0 to log 2, between logits (N, C)."""
    p, q = (check_finite(z, "logits").double().softmax(1) for z in (one, other))
    middle = torch.special.entr((p + q) / 2).sum(1)
    ends = (torch.special.entr(p).sum(1) + torch.special.entr(q).sum(1)) / 2
    return (middle - ends).clamp(min=0).mean().item()


def output_distance(
    model: nn.Module,
    retrained: Sequence[nn.Module],
    inputs: Tensor,
    *,
    answer: Callable[[nn.Module], Tensor] | None = None,
) -> float:
    """Mean divergence from two retrained models over that between those two.

    1 means as far as another retrained seed would be, which is what either of the two
    gets itself. ``answer`` may give the logits on ``inputs`` where they are known.
    Raises ``ValueError`` unless two that differ are given.
    """
    answer = answer or partial(predict, inputs=inputs)
    if len(retrained) != 2:
        raise ValueError(
            f"the output distance needs two retrained models, not {len(retrained)}"
        )
    golds = {id(net): answer(net) for net in retrained}
    between = divergence(*golds.values()) if len(golds) == 2 else 0
    if between == 0:
        raise ValueError("the two retrained models answer alike: use two seeds")
    ours = golds.pop(id(model), None)
    ours = answer(model) if ours is None else ours
    return fmean(divergence(ours, gold) for gold in golds.values()) / between


def examine(
    model: nn.Module,
    data: ForgettingData,
    *,
    original: nn.Module,
    retrained: Sequence[nn.Module],
    seed: int = 0,
    relearn_steps: int = 50,
    watched: int = 200,
    answers: Answers | None = None,
) -> dict[str, float | None]:
    """Every measure of one model: a flat row, all as named in this package.

    Args:
        model: left as it was, as the others are.
        data: see ``ForgettingData``.
        original: the model before forgetting; half its accuracies are what relearning
            must reach.
        retrained: two models trained without the class, from different seeds.
        relearn_steps, watched: at most so many steps of relearning, watched on so many
            test samples of the class and of the others.
        answers: of these models on this data, to be shared between calls.

    A retrained model gets its own row by the same call; ``relative`` sets rows against
    it. ``relearn_steps`` is None when the class did not come back.
    """
    answers = answers or Answers(data)
    row: dict[str, float | None] = dict(accuracies(model, data, answers=answers))
    for attack in (mia_efficacy_svc_confidence, mia_logreg_entropy_member_rate):
        found = attack(model, data, seed=seed, answers=answers)
        row[attack.__name__] = found.value
        row[f"{attack.__name__}_held_out"] = found.held_out
    loss = loss_attack(model, data, answers=answers)
    row |= {f"loss_{k}": v for k, v in asdict(loss).items()}
    others = [net for net in retrained if net is not model]
    row["told_from_retrain_auc"] = fmean(
        told_from_retrain_auc(model, net, data, seed=seed, answers=answers)
        for net in others
    )
    for name, split in (("forget", data.forget_test), ("retain", data.retain_test)):
        known = partial(answers.of, part=f"{name}_test")
        row[f"output_distance_{name}"] = output_distance(
            model, retrained, split.inputs, answer=known
        )
    row |= {f"probe_{k}": v for k, v in asdict(probe(model, data, seed=seed)).items()}
    half = {
        "target": answers.accuracy(original, "forget_test") / 2,
        "keep": answers.accuracy(original, "retain_test") / 2,
    }
    for name, fresh in (("relearn_steps", False), ("relearn_steps_fresh_head", True)):
        again = relearn(
            model,
            data,
            **half,
            max_steps=relearn_steps,
            test_samples=watched,
            fresh_head=fresh,
            seed=seed,
        )
        row[name] = again.steps
    return row


def relative(
    row: Mapping[str, float | None], retrained: Sequence[Mapping[str, float | None]]
) -> dict[str, float]:
    """Row minus the mean of the retrained models' rows, and ``average_gap``.

    Measures that are None somewhere are left out.
    """
    gold = {
        name: fmean(other[name] for other in retrained)
        for name in row
        if all(other.get(name) is not None for other in retrained)
    }
    found = {
        name: value - gold[name]
        for name, value in row.items()
        if value is not None and name in gold
    }
    return {"average_gap": average_gap(row, gold), **found}


@dataclass(frozen=True)
class Cost:
    """What a call took: ``seconds`` of wall time and ``peak_bytes`` of memory beyond
    what was held before, on the GPU if it is one, else of the process (None where the
    system does not tell)."""

    seconds: float
    peak_bytes: int | None


def measured(
    call: Callable[[], T], device: torch.device | str = "cpu"
) -> tuple[T, Cost]:
    """The result of ``call`` and its cost; the data that it uses are in ``METHODS``."""
    device = torch.device(device)
    gpu = device.type == "cuda"
    if gpu:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    else:
        before = process_memory(reset=True)
    began = time.perf_counter()
    result = call()
    if gpu:
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - began
    peak = torch.cuda.max_memory_allocated(device) if gpu else process_memory()
    known = before is not None and peak is not None
    return result, Cost(seconds, max(0, peak - before) if known else None)


def process_memory(reset: bool = False) -> int | None:
    """Peak resident bytes of this process since the last reset; None but on Linux.

    With ``reset`` the peak starts again from what is held now, which is returned.
    """
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    kilobytes = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return 1024 * int(kilobytes[0]) if kilobytes else None
