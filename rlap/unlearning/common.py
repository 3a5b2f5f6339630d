"""What every unlearning method shares: the class to forget, copies, the last layer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rlap.checks import check_count, check_seed
from rlap.data.base import Split
from rlap.network.layers import check_output, evaluating, placing


def split_class(split: Split, label: int) -> tuple[Split, Split]:
    """The samples of class ``label`` (forget set) and all others (retain set).

    Raises ``ValueError`` when the class is out of range or absent, or nothing else is
    there.
    """
    check_count(label, "the class to forget", minimum=0, maximum=split.num_classes - 1)
    chosen = split.labels == label
    if not chosen.any():
        raise ValueError(f"class {label} does not occur: there is nothing to forget")
    if chosen.all():
        raise ValueError(f"all samples are of class {label}: nothing would be retained")
    return split.subset(chosen), split.subset(~chosen)


def forgotten_class(forget: Split, retain: Split | None, num_classes: int) -> int:
    """The one class of ``forget``, which must not occur in ``retain``.

    Raises ``TypeError`` for anything that is no split, ``ValueError`` for an empty one,
    more than one class, a class the model does not have, or one also retained.
    """
    for name, split in (("forget", forget), ("retain", retain)):
        if split is None and name == "retain":
            continue
        if not isinstance(split, Split):
            raise TypeError(f"{name} must be a Split, not {type(split).__name__}")
        if len(split) == 0:
            raise ValueError(f"the {name} set is empty")
    classes = forget.labels.unique().tolist()
    if len(classes) != 1:
        raise ValueError(
            f"the forget set must hold one class; it holds {len(classes)}: {classes}"
        )
    label = int(classes[0])
    check_count(label, "the class to forget", minimum=0, maximum=num_classes - 1)
    if retain is not None and bool((retain.labels == label).any()):
        raise ValueError(
            f"the retain set holds class {label}, which is to be forgotten"
        )
    return label


class Start(NamedTuple):
    """What a method begins with: a copy of the model to change, the class to forget,
    how many classes the model has, and the nn.Linear that makes its logits, if any."""

    model: nn.Module
    label: int
    classes: int
    last: str | None

    def last_linear(self) -> str:
        """Name of the nn.Linear that makes the logits; ``TypeError`` without one."""
        return the_linear(self.last)


def begin(
    model: nn.Module, forget: Split, retain: Split | None, *, both: bool = False
) -> Start:
    """Check the sets and copy the model, which is never touched itself.

    The copy is in eval mode. With ``both`` the method cannot do without the retain
    set: None is a ``TypeError``.
    """
    if not isinstance(forget, Split):
        raise TypeError(f"forget must be a Split, not {type(forget).__name__}")
    if both and retain is None:
        raise TypeError("this method needs the retain set: retain must be a Split")
    new = copy.deepcopy(model).eval()
    logits, last = last_layer(new, forget.inputs[:1])
    classes = logits.shape[1]
    return Start(new, forgotten_class(forget, retain, classes), classes, last)


@torch.no_grad()
def last_layer(model: nn.Module, example: Tensor) -> tuple[Tensor, str | None]:
    """The logits (B, C) of an example, and the name of the nn.Linear whose output they
    are, by watching one forward pass; None where they are not a Linear layer's."""
    place = placing(model, example)
    made: list[tuple[str, Tensor]] = []
    hooks = [
        module.register_forward_hook(
            lambda m, args, out, name=name: made.append((name, out))
        )
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        with evaluating(model):
            logits = model(place(example))
    finally:
        for hook in hooks:
            hook.remove()
    check_output(logits, made[-1][0] if made else "none")
    return logits, made[-1][0] if made and made[-1][1] is logits else None


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


def together(splits: Sequence[Split], labels: Sequence[Tensor] | None = None) -> Split:
    """One split of several, with other labels where they are given."""
    labels = labels or [split.labels for split in splits]
    device = splits[0].inputs.device
    return Split(
        torch.cat([split.inputs.to(device) for split in splits]),
        torch.cat([each.to(device) for each in labels]),
        splits[0].normalisation,
        max(split.num_classes for split in splits),
    )


def some(split: Split, samples: int | None, seed: int) -> Split:
    """At most ``samples`` of a split, drawn from ``seed``."""
    if samples is None or check_count(samples, "samples") >= len(split):
        return split
    generator = torch.Generator().manual_seed(check_seed(seed))
    return split.subset(torch.randperm(len(split), generator=generator)[:samples])
