"""Computing in a precision of one's own, whatever torch.autocast block one is in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

AUTOCAST_DEVICES = ("cpu", "cuda")


@contextmanager
def own_precision() -> Iterator[None]:
    """Leave the torch.autocast blocks of the caller for a while.

    Their cache of cast weights is emptied at the end: the block may have changed the
    weights. Every public function that runs a network stands in this (also as a
    decorator, ``@own_precision()``).

    >>> import torch
    >>> with torch.autocast("cpu", torch.bfloat16), own_precision():
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.float32
    """
    with ExitStack() as stack:
        stack.callback(torch.clear_autocast_cache)
        for device in AUTOCAST_DEVICES:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """A context in which networks on ``device`` run in ``precision``: bfloat16 for
    "bf16", their own for "fp32".

    Weights are cast at each use: inside a caller's block a cache of them would outlive
    the step that changes them.
    """
    return torch.autocast(
        device.type,
        torch.bfloat16,
        enabled=precision == "bf16",
        cache_enabled=False,
    )
