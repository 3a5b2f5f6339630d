"""Attacks of one's own, which ``examine`` asks beside its own measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from numbers import Real

from torch import Tensor, nn

from rlap.checks import check_number
from rlap.network.copying import copy_of
from rlap.network.layers import model_device
from rlap.unlearning.common.own import nothing_drawn
from rlap.unlearning.common.splits import ForgettingData
from rlap.unlearning.examiner.attacks import (
    LossAttack,
    mia_efficacy_svc_confidence,
    mia_logreg_entropy_member_rate,
)
from rlap.unlearning.examiner.probes import Probe

FITTED = (mia_efficacy_svc_confidence, mia_logreg_entropy_member_rate)
# every name in a row of ``examine``, of a class or of samples, or of ``relative``
MEASURES = {
    *("forget_train", "retain_train", "forget_test", "retain_test", "ua", "ra", "ta"),
    *("forget_gap", "average_gap", "output_distance_forget", "output_distance_retain"),
    *("forgetting_rate_svc_original", "forgetting_score_loss", "told_from_retrain_auc"),
    *(f"{attack.__name__}{end}" for attack in FITTED for end in ("", "_held_out")),
    *(f"loss_{each.name}" for each in fields(LossAttack)),
    *(f"probe_{each.name}" for each in fields(Probe)),
    *("relearn", "relearn_others", "relearn_fresh_head", "relearn_fresh_head_others"),
    *("curves", "layers"),
}

Attack = Callable[[nn.Module, ForgettingData], float]
ATTACKS: dict[str, Attack] = {}


def register_attack(name: str) -> Callable[[Attack], Attack]:
    """A decorator that adds one's own attack to ``ATTACKS``, which ``examine`` asks.

    The function takes (model, data), a copy of the model in eval mode and
    ``ForgettingData``, and returns a number: it stands under ``name`` in every row. One
    may be registered again. Raises ``TypeError`` for no name and no function,
    ``ValueError`` for the name of a measure that ``examine`` has itself; when it is
    asked, ``TypeError`` and ``ValueError`` for what is no finite number.

    >>> @register_attack("surest")
    ... def surest(model, data):
    ...     return model(data.forget.inputs).softmax(1).max()
    >>> ATTACKS.pop("surest") is surest
    True
    """
    if not isinstance(name, str) or not name:
        raise TypeError("give the attack's name, a text: @register_attack('mine')")
    check_free(name)

    def add(function: Attack) -> Attack:
        if not callable(function):
            told = f"{name!r} must be a function, not {type(function).__name__}"
            raise TypeError(told)
        ATTACKS[name] = function
        return function

    return add


def check_free(name: str) -> None:
    """Raise ``ValueError`` for the name of a measure."""
    if name in MEASURES:
        raise ValueError(f"examine has a measure {name!r} itself; take another name")


def asked(model: nn.Module, data: ForgettingData) -> dict[str, float]:
    """What each of ``ATTACKS`` says of a model."""
    found: dict[str, float] = {}
    for name, attack in ATTACKS.items():
        check_free(name)
        with nothing_drawn(model_device(model)):
            value = attack(copy_of(model).eval(), data)
        if isinstance(value, Tensor) and value.numel() == 1:
            value = value.item()
        if not isinstance(value, Real):  # as numbers of NumPy are
            told = f"the attack {name!r} must return a number"
            raise TypeError(f"{told}, not {type(value).__name__}")
        found[name] = check_number(float(value), f"what the attack {name!r} returned")
    return found
