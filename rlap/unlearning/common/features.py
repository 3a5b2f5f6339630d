"""What enters a layer, averaged over positions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rlap.checks import check_finite
from rlap.data.base import Split
from rlap.network.layers import CONVOLUTIONS, check_calls, get_layer, reading
from rlap.network.watching import Call, watching


def features(model: nn.Module, split: Split, layer: str) -> Tensor:
    """What enters ``layer``, averaged over positions: (N, d) on the CPU.

    >>> net = nn.Sequential(nn.Linear(2, 5), nn.Linear(5, 3))
    >>> features(net, Split(torch.rand(9, 2), torch.arange(9) % 3), "1").shape
    torch.Size([9, 5])
    """
    return layer_inputs(model, split, [layer])[layer]


@torch.no_grad()
def layer_inputs(
    model: nn.Module, split: Split, layers: Sequence[str], *, once: bool = True
) -> dict[str, Tensor]:
    """``features`` of several layers in one pass: layer -> (N, d).

    Raises ``KeyError`` for an unknown layer, ``ValueError`` for one that does not run
    exactly ``once`` (which leaves it out where False) and for values that are not
    finite.
    """
    seen: dict[str, list[Tensor]] = {name: [] for name in layers}
    for name in layers:
        get_layer(model, name)  # an error that names the nearest

    def see(call: Call) -> None:
        seen[call.name].append(over_positions(call.module, call.input))

    with (
        reading(model, split.inputs) as batches,
        watching(model, seen, see, before=True),
    ):
        ran = sum(model(x) is not None for x in batches)
    if not once:
        seen = {name: parts for name, parts in seen.items() if len(parts) == ran}
    for name, parts in seen.items():
        check_calls(len(parts) // ran, name)
    return {
        name: check_finite(torch.cat(parts), f"the input of {name!r}")
        for name, parts in seen.items()
    }


def over_positions(layer: nn.Module, x: Tensor) -> Tensor:
    """The mean (N, d) of a layer's input over steps, pixels or voxels (N, d, ...) of a
    convolution or tokens (N, ..., d) of a linear layer, on the CPU."""
    if isinstance(layer, CONVOLUTIONS):
        return x.float().mean(tuple(range(2, x.dim()))).cpu()
    return (x.flatten(1, -2).float().mean(1) if x.dim() > 2 else x.float()).cpu()
