"""How every unlearning method begins: sets checked, model copied, last layer found."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rlap.checks import check_gradients, check_logit_values, check_model
from rlap.data.base import Split
from rlap.network.copying import copy_of
from rlap.network.layers import (
    check_logits,
    check_output,
    model_device,
    preserved_random_state,
    reading,
)
from rlap.network.watching import watching
from rlap.training.inference import predict
from rlap.unlearning.common.splits import is_one_of, labels_of

MASKED = -1e9  # of a logit; finite, so that everything that reads it goes on working


def forgotten_classes(
    forget: Split, retain: Split | None, classes: int, samplewise: bool = False
) -> tuple[int, ...]:
    """The classes of ``forget``, none of which may occur in ``retain``, unless it is
    ``samplewise``.

    Raises ``TypeError`` for anything that is no split, ``ValueError`` for a class that
    the model does not have, in either set, one also retained, and where nothing else is
    left.
    """
    for name, split in (("forget", forget), ("retain", retain)):
        if not isinstance(split, Split) and (split is not None or name == "forget"):
            raise TypeError(f"{name} must be a Split, not {type(split).__name__}")
    labels = labels_of(forget.labels.unique().tolist(), classes)
    if retain is not None:
        check_known(retain, classes, "the retain set")
    if samplewise:
        return labels
    if len(labels) == classes:
        raise ValueError("the forget set holds every class that the model has")
    if retain is not None and (both := is_one_of(retain.labels, labels)).any():
        raise ValueError(
            f"the retain set holds class {int(retain.labels[both][0])}, which is to be "
            "forgotten"
        )
    return labels


def check_known(split: Split, classes: int, name: str) -> None:
    """Raise ``ValueError`` for a label that a model of so many ``classes`` lacks."""
    if (most := int(split.labels.max())) >= classes:
        raise ValueError(
            f"{name} holds class {most}, and the model's logits are of {classes} "
            f"classes, 0 to {classes - 1}"
        )


class Start(NamedTuple):
    """What a method begins with: a copy of the model to change, the classes to forget,
    how many classes the model has, and the nn.Linear that makes its logits, if any."""

    model: nn.Module
    labels: tuple[int, ...]
    classes: int
    last: str | None

    def last_linear(self) -> str:
        """Name of the nn.Linear that makes the logits; ``TypeError`` without one."""
        return the_linear(self.last)


def begin(
    model: nn.Module,
    forget: Split,
    retain: Split | None,
    *,
    both: bool = False,
    single: bool = False,
    trains: bool = False,
    samplewise: bool = False,
) -> Start:
    """Check the sets and copy the model, which is never touched itself.

    The copy is in eval mode. With ``both`` the method cannot do without the retain
    set: None is a ``TypeError``; with ``single`` it forgets one class at a time: more
    are a ``ValueError``, as is a model that returns probabilities; with ``trains`` the
    model has to return logits in train mode, too; with ``samplewise`` samples of any
    classes are forgotten, which the retain set may have as well.
    """
    check_editable(model)
    if not isinstance(forget, Split):
        raise TypeError(f"forget must be a Split, not {type(forget).__name__}")
    if both and retain is None:
        raise TypeError("this method needs the retain set: retain must be a Split")
    new = copy_of(model).eval()
    logits, last = last_layer(new, forget.inputs[:8])
    check_logit_values(logits)
    labels = forgotten_classes(forget, retain, logits.shape[1], samplewise)
    if trains:
        check_gradients()
        check_train_mode(model, (forget if retain is None else retain).inputs[:1])
    if single and len(labels) > 1:
        raise ValueError(
            f"this method forgets one class at a time; the forget set must hold one "
            f"class, not {len(labels)}: {list(labels)}"
        )
    return Start(new, labels, logits.shape[1], last)


def check_editable(model: nn.Module) -> None:
    """Raise ``TypeError`` for what is no model, and for one that was scripted or
    compiled: its layers cannot be seen."""
    if isinstance(check_model(model), torch.jit.ScriptModule):
        raise TypeError("a scripted model cannot be edited: give the one it is made of")
    if hasattr(model, "_orig_mod"):
        raise TypeError("a compiled model cannot be edited: give model._orig_mod")


@torch.no_grad()
def check_train_mode(model: nn.Module, inputs: Tensor) -> None:
    """Raise ``TypeError`` for a model that returns more than logits while training."""
    twin, device = copy_of(model).train(), model_device(model)
    two = inputs.repeat_interleave(2, 0)[:2]  # BatchNorm has no variance over one
    with preserved_random_state(device):
        check_logits(twin(two.to(device)))


@torch.no_grad()
def last_layer(model: nn.Module, example: Tensor) -> tuple[Tensor, str | None]:
    """The logits (B, C) of an example, and the name of the nn.Linear whose output they
    are, by watching one forward pass; None where they are not a Linear layer's."""
    made: list[tuple[str, Tensor]] = []
    linear = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    with (
        reading(model, example) as batches,
        watching(model, linear, lambda call: made.append((call.name, call.output))),
    ):
        logits = model(next(batches))
    name, out = made[-1] if made else ("none", None)
    check_output(logits, name)
    return logits, name if out is logits else None


def last_linear(model: nn.Module, example: Tensor) -> str:
    """Name of the nn.Linear whose output is the logits; ``TypeError`` without one."""
    return the_linear(last_layer(model, example)[1])


def the_linear(name: str | None) -> str:
    """The name, or ``TypeError`` where the logits are no nn.Linear's output."""
    if name is None:
        raise TypeError(
            "the logits of this network are not the output of an nn.Linear, which is "
            "needed here; where layers can be named, name them"
        )
    return name


def same_answers(model: nn.Module, new: nn.Module, inputs: Tensor) -> bool:
    """Whether ``new`` is as ``model`` was: all weights, and answers to ``inputs``,
    which are asked for only where the weights are the same."""
    one, other = (
        {**dict(net.named_parameters()), **dict(net.named_buffers())}
        for net in (model, new)
    )
    if one.keys() != other.keys() or not all(
        torch.equal(one[k], other[k].to(one[k].device)) for k in one
    ):
        return False
    return torch.equal(*(predict(net, inputs) for net in (model, new)))
