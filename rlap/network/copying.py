"""One way of copying networks, also those that ``copy.deepcopy`` refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


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
