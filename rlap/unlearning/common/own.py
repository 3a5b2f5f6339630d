"""What others bring, methods and attacks: it is checked, and runs on copies."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import nn

from rlap.checks import check_logit_values
from rlap.data.base import Split
from rlap.network.copying import copy_of
from rlap.network.layers import model_device, preserved_random_state
from rlap.unlearning.common.begin import last_layer


def takes(function: Callable, option: str) -> bool:
    """Whether ``function`` has an option of this name."""
    found = inspect.signature(function).parameters.values()
    kinds = {p.kind for p in found if p.name == option}
    by_name = {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    return bool(kinds & by_name) or any(p.kind is p.VAR_KEYWORD for p in found)


def as_settings(settings: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Settings to choose from; ``TypeError`` for what are no mappings, ``ValueError``
    for none."""
    found = [settings] if isinstance(settings, str | Mapping) else [*settings]
    if isinstance(settings, Mapping) or not all(isinstance(s, Mapping) for s in found):
        raise TypeError(
            "settings must be a list, each of it a mapping of options, as "
            "[{'share': 0.1}, {'share': 0.2}]"
        )
    if not found:
        raise ValueError("give settings to choose from; without options they are [{}]")
    return tuple(map(dict, found))


@contextmanager
def nothing_drawn(device: torch.device) -> Iterator[None]:
    """Restore the global random state of torch, NumPy and Python on leaving."""
    kept = np.random.get_state(), random.getstate()
    try:
        with preserved_random_state(device):
            yield
    finally:
        np.random.set_state(kept[0])
        random.setstate(kept[1])


def guarded(
    function: Callable[..., nn.Module], name: str, options: Collection[str] = ()
) -> Callable[..., nn.Module]:
    """One's own method on a copy of the model: whatever it does there, the caller's and
    the global random state stay as they are.

    Raises ``TypeError`` at once for what is no function and for ``options`` that it
    lacks; when called, ``TypeError`` for what is no model and ``ValueError`` for one
    that answers in another form than the caller's.
    """
    if not callable(function):
        raise TypeError(f"{name!r} must be a function, not {type(function).__name__}")
    if missing := sorted(o for o in options if not takes(function, o)):
        raise TypeError(f"the function of {name!r} has no option {missing[0]!r}")

    @wraps(function)
    def call(
        model: nn.Module, forget: Split, retain: Split | None, **given: Any
    ) -> nn.Module:
        with nothing_drawn(model_device(model)):
            new = function(copy_of(model), forget, retain, **given)
        if not isinstance(new, nn.Module):
            raise TypeError(
                f"{name!r} must return the new model, not {type(new).__name__}"
            )
        old, logits = (last_layer(net, forget.inputs[:8])[0] for net in (model, new))
        if check_logit_values(logits).shape != old.shape:
            raise ValueError(
                f"{name!r} returned a model of {logits.shape[1]} logits; the one that "
                f"it was given has {old.shape[1]}"
            )
        return new

    return call
