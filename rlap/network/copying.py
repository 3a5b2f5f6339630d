"""One way of copying networks, also those that ``copy.deepcopy`` refuses, and one of
drawing their weights anew."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rlap.network.layers import model_device, preserved_random_state
from rlap.network.modes import has_own_weights


class _CopyingComputed(TorchFunctionMode):
    """Tensors that were computed are copied by value; torch refuses to."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func is Tensor.__deepcopy__ and not args[0].is_leaf:
            tensor, memo = args
            memo[id(tensor)] = tensor.detach().clone()
            return memo[id(tensor)]
        return func(*args, **(kwargs or {}))


def copy_of(model: nn.Module, memo: dict[int, object] | None = None) -> nn.Module:
    """A copy of ``model`` that shares no parameter, buffer or hook table with it.

    Unlike ``copy.deepcopy`` it copies networks that keep something computed (their last
    output; the weight of torch.nn.utils.prune, the old weight_norm and spectral_norm),
    and shares what nothing can copy, a lock or an open file. ``memo`` as in
    ``copy.deepcopy``: id -> what stands for that object in the copy.

    Raises ``TypeError`` for a network of which a module or a tensor cannot be copied.

    >>> from torch import nn
    >>> model = nn.Linear(2, 1)
    >>> model.last = model.weight * 2  # no leaf: copy.deepcopy(model) raises
    >>> copy_of(model).weight is model.weight
    False
    """
    memo = dict(memo or {})
    with _CopyingComputed():
        try:
            return copy.deepcopy(model, dict(memo))
        except Exception:  # whatever copying an attribute raised
            # trials need no copies of the weights
            trial = {id(t): t for t in (*model.parameters(), *model.buffers())}
            shared: dict[int, object] = {}
            _share(model, memo | trial, shared, set())
            return copy.deepcopy(model, memo | shared)


def resetting(module: nn.Module) -> Callable[[], object] | None:
    """What draws a module's own weights anew; None if it has nothing of the kind.

    >>> from torch import nn
    >>> resetting(nn.Linear(2, 1)).__name__, resetting(nn.ReLU())
    ('reset_parameters', None)
    """
    # attention has the second alone
    names = ("reset_parameters", "_reset_parameters")
    return next((getattr(module, n) for n in names if hasattr(module, n)), None)


def draw_anew(model: nn.Module, seed: int) -> None:
    """Draw or set anew, from ``seed``, all weights and statistics of ``model`` itself.

    Constants stay, and so does what is frozen, of a layer that is frozen whole its
    statistics too: no training would make anything of random ones. Raises ``TypeError``
    for a layer that cannot draw.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 1))
    >>> frozen = model[0].requires_grad_(False).weight.clone()
    >>> draw_anew(model, seed=0)
    >>> bool((model[0].weight == frozen).all())
    True
    """
    with preserved_random_state(model_device(model), seed):
        for name, module in model.named_modules():
            weights = list(module.parameters(recurse=False))
            buffers = list(module.buffers(recurse=False))
            frozen = [p for p in weights if not p.requires_grad]
            reset = resetting(module)
            constant = not weights and (reset is None or not buffers)
            if constant or (weights and len(frozen) == len(weights)):
                continue
            told = f"{type(module).__name__} {name!r} cannot draw new weights:"
            if reset is None:
                raise TypeError(f"{told} give it a method reset_parameters()")
            if weights and not has_own_weights(module):
                raise TypeError(f"{told} its weight is computed from other parameters")
            kept = [p.detach().clone() for p in frozen]
            reset()
            with torch.no_grad():
                for parameter, value in zip(frozen, kept, strict=True):
                    parameter.copy_(value)


def _share(
    value: Any, memo: dict[int, object], shared: dict[int, object], seen: set[int]
) -> None:
    """Add to ``shared``, as themselves, the smallest parts of ``value`` that cannot be
    copied."""
    if id(value) in seen or not _failure(value, memo | shared):
        return
    seen.add(id(value))
    for part in _parts(value):
        _share(part, memo, shared, seen)
    error = _failure(value, memo | shared)
    if error and isinstance(value, nn.Module | Tensor):
        raise TypeError(
            f"a {type(value).__name__} of the model cannot be copied: {error}"
        ) from error
    if error:
        shared[id(value)] = value


def _failure(value: Any, memo: dict[int, object]) -> Exception | None:
    try:
        copy.deepcopy(value, memo)
    except Exception as error:  # whatever the object's own copying raises
        return error
    return None


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    return list(getattr(value, "__dict__", {}).values())
