"""What may be moved: parameters, by training or by hand, and modules, in which mode."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from rlap.checks import check_one_of
from rlap.data.base import Split, check_split

BATCHNORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
BATCHNORM_MODES = ("train", "eval")  # see ``train``
FROZEN = "no parameter to train: all are frozen or the model has none"


def check_trainable(split: Split, batchnorm: str) -> None:
    """One clear error for data or settings that nothing can be trained with."""
    check_one_of(batchnorm, BATCHNORM_MODES, "batchnorm")
    if len(check_split(split)) == 0:
        raise ValueError("cannot train on an empty split")


def trainable(
    model: nn.Module, modules: Sequence[str] | None, batchnorm: str
) -> tuple[Callable[[], None], list[nn.Parameter]]:
    """A function that sets every submodule's mode for an epoch, and the parameters to
    update."""
    named = dict(model.named_modules())
    if modules is None:
        active = set(named.values())
    else:
        if isinstance(modules, str):
            raise TypeError(f"modules must be a list of names: [{modules!r}]")
        if missing := [name for name in modules if name not in named]:
            raise KeyError(f"the model has no module {missing[0]!r}")
        active = {m for name in modules for m in named[name].modules()}

    def set_mode() -> None:
        for module in named.values():
            fixed = batchnorm == "eval" and isinstance(module, BATCHNORM)
            module.training = module in active and not fixed

    unique = {id(p): p for m in active for p in m.parameters(recurse=False)}
    # in the model's own order, whatever the order of the set above
    parameters = [p for p in model.parameters() if id(p) in unique and p.requires_grad]
    if not parameters:
        raise ValueError(FROZEN)
    return set_mode, parameters


def has_own_weights(layer: nn.Module) -> bool:
    """Whether weight and bias are the layer's parameters, and not computed from others
    as by ``torch.nn.utils.parametrizations``: what is written there is lost."""
    tensors = (getattr(layer, kind, None) for kind in ("weight", "bias"))
    return all(t is None or isinstance(t, nn.Parameter) for t in tensors)


def check_own_weights(layer: nn.Module, name: str) -> None:
    """Raise ``TypeError`` for a layer into whose weights nothing can be written."""
    if not has_own_weights(layer):
        raise TypeError(
            f"the weight of {name!r} is computed from other parameters, so that a "
            "change of it would not last; remove the parametrization first"
        )


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are not frozen, by name; ``ValueError`` where all are."""
    found = {n: p for n, p in model.named_parameters() if p.requires_grad}
    if not found:
        raise ValueError(FROZEN)
    return found


_AT_WORK: dict[int, int] = {}  # id of a model -> the thread that changes its modes


@contextmanager
def alone(model: nn.Module) -> Iterator[None]:
    """Raise ``RuntimeError`` where another thread is in such a block of this model: it
    would be run in a mode that is not its own."""
    first, own = id(model) not in _AT_WORK, threading.get_ident()
    if _AT_WORK.setdefault(id(model), own) != own:
        raise RuntimeError(
            "another thread is at work on this model; calls must not run side by side "
            "on one model: give each thread a copy"
        )
    try:
        yield
    finally:
        if first:
            del _AT_WORK[id(model)]


@contextmanager
def keeping_buffers(model: nn.Module) -> Iterator[None]:
    """Give ``model`` its buffers back, with their values, at the end of the block."""
    owners = [m for m in model.modules() if not isinstance(m, torch.jit.ScriptModule)]
    tables = [(m._buffers, dict(m._buffers)) for m in owners if m._buffers]
    kept = [  # those of inference mode cannot be written outside
        (b, b._version, b.detach().clone())
        for _, before in tables
        for b in before.values()
        if b is not None and not b.is_inference()
    ]
    try:
        yield
    finally:
        for table, before in tables:
            table.update(before)
        for buffer, version, value in kept:
            if buffer._version != version:  # else a graph may hold it
                buffer.detach().copy_(value)


@contextmanager
def batches_of_one_explained() -> Iterator[None]:
    """What torch says of a BatchNorm that sees one sample, with what to do about it."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ValueError(
            "a BatchNorm cannot be trained on batches of one sample: give more samples "
            "or a larger batch_size, or freeze its statistics, batchnorm='eval'"
        ) from error


@contextmanager
def only_these(model: nn.Module, parameters: list[nn.Parameter]) -> Iterator[None]:
    """Compute gradients for ``parameters`` alone: none through a frozen backbone."""
    kept = {id(p) for p in parameters}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in kept]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)
