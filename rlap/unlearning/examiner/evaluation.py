"""One strict examiner for every unlearning method.

Everything is measured on the model and on models that were retrained without the class,
and the second is the standard: neither zero accuracy nor a high number is good by
itself. Nothing here chooses settings, and test samples serve for the account alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from rlap.checks import check_finite, check_logit_values, check_model
from rlap.files.digests import of_tensors
from rlap.network.copying import copy_of
from rlap.network.modes import has_own_weights
from rlap.training.inference import predict
from rlap.unlearning.common.begin import last_layer
from rlap.unlearning.common.splits import ForgettingData
from rlap.unlearning.common.statistics import weight_digest
from rlap.unlearning.examiner.attacks import (
    Answers,
    loss_attack,
    told_from_retrain_auc,
)
from rlap.unlearning.examiner.lra_npp_measures import (
    FEWEST,
    forgetting_rate_svc_original,
    forgetting_score_loss,
)
from rlap.unlearning.examiner.own import FITTED
from rlap.unlearning.examiner.own import asked as asked_of_own
from rlap.unlearning.examiner.probes import probes
from rlap.unlearning.examiner.relearning import relearn

GAP = ("ua", "ra", "ta", "mia_efficacy_svc_confidence")


def accuracies(model: nn.Module, data: ForgettingData | Answers) -> dict[str, float]:
    """Accuracy, in [0, 1], on forget and retain sets, train and test, and the field's
    names for them: ua = 1 - forget_train, ra = retain_train, ta = retain_test (test
    accuracy over the retained classes only)."""
    answers = Answers.on(data)
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
    check_retrained(retrained)
    golds = {id(net): answer(net) for net in retrained}
    between = divergence(*golds.values()) if len(golds) == 2 else 0
    if between == 0:
        raise ValueError("the two retrained models answer alike: use two seeds")
    ours = golds.pop(id(model), None)
    ours = answer(model) if ours is None else ours
    return fmean(divergence(ours, gold) for gold in golds.values()) / between


def check_retrained(retrained: Sequence[nn.Module]) -> None:
    """Raise ``ValueError`` unless two retrained models are given."""
    if not isinstance(retrained, Sequence):
        raise TypeError("retrained must be a list of two models")
    if len(retrained) != 2:
        raise ValueError(
            f"the standard is two retrained models, not {len(retrained)}; "
            "METHODS['retrain'] makes them, from different seeds"
        )


def check_asked(
    answers: Answers, models: Sequence[nn.Module], earlier: Sequence[str]
) -> None:
    """One clear error for what cannot be examined: models of other classes than the
    first, too few samples to forget, ``earlier`` that is no list of names."""
    data = answers.data
    for part in ("forget", "forget_test"):
        if (n := len(getattr(data, part))) < FEWEST:
            raise ValueError(
                f"{part} holds {n} samples and the attacks need {FEWEST}: give more"
            )
    if isinstance(earlier, str):
        raise TypeError(f"earlier must be a list of names: [{earlier!r}]")
    widths = set()
    for net in models:
        if answers.has(net, "forget"):  # it was looked at with an earlier one
            logits = answers.of(net, "forget")
        else:
            logits, _ = last_layer(check_model(net), data.forget.inputs[:8])
        widths.add(check_logit_values(logits).shape[1])
    if len(widths) > 1:
        raise ValueError(f"the models have different numbers of classes: {widths}")


def examine(
    model: nn.Module,
    data: ForgettingData | Answers,
    *,
    original: nn.Module,
    retrained: Sequence[nn.Module],
    seed: int = 0,
    relearn_steps: int = 60,
    watched: int = 200,
    earlier: Sequence[str] = (),
) -> dict[str, Any]:
    """Every measure of one model: a row of numbers as named in this package, and under
    "curves" and "layers" how relearning went and what probes of earlier layers found;
    also what attacks of one's own say (``register_attack``).

    Args:
        model: left as it was, as the others are.
        data: see ``ForgettingData``; or the ``Answers`` on them, where several models
            are examined, so that each is asked once.
        original: the model before forgetting; half its accuracies are what relearning
            must reach.
        retrained: two models trained without the class, from different seeds.
        relearn_steps, watched: so many steps of relearning, watched on so many test
            samples of the class and of the others.
        earlier: names of layers whose inputs are probed, too.

    A retrained model gets its own row by the same call; ``relative`` sets rows against
    it. What depends on the features alone is measured once for all models that share
    them, the edits of a last layer. Where the logits are not the output of an nn.Linear
    there is no last layer to probe or to draw anew, and where its weight is computed
    from other parameters none to draw anew: with a warning, the row goes without
    ``probe_*`` or ``relearn_fresh_head*``. Where relearning diverged its numbers are
    None. Raises ``ValueError`` unless two retrained
    models are given that answer differently.

    Of samples to forget (``ForgettingData.of_samples``) there is no class that features
    could know or that could come back: the row goes without. What tells of them is
    ``forget_gap`` (accuracy on them less that on samples never trained on), the
    attacks, and the difference from networks that were retrained without them.

    >>> from rlap import Split
    >>> nets = [nn.Linear(2, 3) for _ in range(4)]
    >>> split = Split(torch.rand(60, 2), torch.arange(60) % 3)
    >>> data = ForgettingData.of(split, split, label=2)
    >>> row = examine(nets[0], data, original=nets[1], retrained=nets[2:])
    >>> row["ua"] == 1 - row["forget_train"]
    True
    """
    check_retrained(retrained)
    answers = Answers.on(data)
    data = answers.data
    check_asked(answers, (model, original, *retrained), earlier)
    row: dict[str, Any] = dict(accuracies(model, answers))
    if data.samplewise:
        row["forget_gap"] = row["forget_train"] - row["forget_test"]
    for attack in FITTED:
        found = attack(model, answers, seed=seed)
        row[attack.__name__] = found.value
        row[f"{attack.__name__}_held_out"] = found.held_out
    loss = loss_attack(model, answers)
    row |= {f"loss_{k}": v for k, v in asdict(loss).items()}
    row["forgetting_rate_svc_original"] = forgetting_rate_svc_original(
        model, original, answers
    )
    row["forgetting_score_loss"] = forgetting_score_loss(model, answers)
    others = [net for net in retrained if net is not model]
    row["told_from_retrain_auc"] = fmean(
        told_from_retrain_auc(model, net, answers, seed=seed) for net in others
    )
    asked = {"forget": "forget_test", "retain": "retain_test"}
    if data.samplewise:  # there is no class of which others could be asked
        asked["forget"] = "forget"
    for name, part in asked.items():
        inputs, known = getattr(data, part).inputs, partial(answers.of, part=part)
        row[f"output_distance_{name}"] = output_distance(
            model, retrained, inputs, answer=known
        )
    if not data.samplewise:
        half = {
            "target": answers.accuracy(original, "forget_test") / 2,
            "keep": answers.accuracy(original, "retain_test") / 2,
            "max_steps": relearn_steps,
            "test_samples": watched,
            "seed": seed,
        }
        row |= of_features(model, answers, half, earlier)
    return row | asked_of_own(model, data)


def of_features(
    model: nn.Module, answers: Answers, half: dict[str, Any], earlier: Sequence[str]
) -> dict[str, Any]:
    """The part of a row that probes and relearning give; ``half`` are the options of
    ``relearn``."""
    data = answers.data
    last = last_layer(model, data.forget.inputs[:1])[1]
    few = torch.cat([part.inputs[:8].cpu() for part in (data.forget, data.retain)])
    body, asked = body_digest(model, last, few), (*half.values(), *earlier)
    probed = [*earlier] if last is None else [*earlier, last]
    layers = answers.once(
        ("probes", body, *asked),
        lambda: probes(model, data, probed, seed=half["seed"]),
    )
    of_last = {} if last is None else asdict(layers[last])
    row: dict[str, Any] = {f"probe_{k}": v for k, v in of_last.items()}
    runs = {"relearn": relearn(model, data, **half)}
    if reason := not_drawn_anew(model, last):
        warnings.warn(reason, stacklevel=3)
    else:
        runs["relearn_fresh_head"] = answers.once(
            ("relearn", body, *asked),
            lambda: relearn(model, data, fresh_head=True, **half),
        )
    for name, found in runs.items():
        row |= found.numbers(name)
    row["curves"] = {name: found.curve() for name, found in runs.items()}
    row["layers"] = {name: asdict(layers[name]) for name in earlier}
    return row


def not_drawn_anew(model: nn.Module, last: str | None) -> str | None:
    """Why the last layer is not, or None where it can be."""
    if last is None:
        return (
            "the logits are not the output of an nn.Linear: there is no last layer "
            "to probe or to draw anew"
        )
    if not has_own_weights(model.get_submodule(last)):
        return (
            f"the weight of {last!r} is computed from other parameters: it cannot be "
            "drawn anew"
        )
    return None


def body_digest(model: nn.Module, last: str | None, inputs: Tensor) -> str:
    """A digest of all weights but the last layer's, and of what the network makes of
    ``inputs`` (n, ...) with a last layer that is the same for all: hooks and modules
    without weights decide as well. Equal ones have equal features."""
    body = copy_of(model)
    if last is not None:
        layer = body.get_submodule(last)
        with torch.no_grad():
            for parameter in layer.parameters():
                even = torch.linspace(-1, 1, parameter.numel(), device=parameter.device)
                parameter.copy_(even.view_as(parameter))
        layer.bias = None  # a mask may have added one
    return weight_digest(body) + of_tensors({"logits": predict(body, inputs)})


def relative(
    row: Mapping[str, Any], retrained: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """Every number of a row minus the mean of the retrained models', and
    ``average_gap``; none where one of them has no number.

    A retrained model is to be set against the *other* ones: against a mean that it is
    part of, half of what tells two seeds apart would vanish.
    """
    gold = {
        name: fmean(other[name] for other in retrained)
        for name, value in row.items()
        if isinstance(value, float) and None not in (other[name] for other in retrained)
    }
    found = {name: row[name] - value for name, value in gold.items()}
    return {"average_gap": average_gap(row, gold), **found}
