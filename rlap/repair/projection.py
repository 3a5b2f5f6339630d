"""Projections of the inputs of a network's layers: which directions samples use, and
weights that see those alone. SAP's step; the methods of ``unlearning`` use the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlap.checks import check_finite, check_positive
from rlap.data.base import Split
from rlap.network.copying import copy_of
from rlap.network.layers import SUPPORTED, get_layer, reading
from rlap.network.modes import check_own_weights
from rlap.network.watching import Call, watching


class Unprojectable(TypeError):
    """A layer, or a whole network, whose inputs cannot be projected."""


@dataclass(frozen=True)
class Directions:
    """Of one layer's inputs: the directions (d, d), a column each, and their shares
    (d,) of the variance about zero; float64."""

    columns: Tensor
    share: Tensor

    @classmethod
    def of(cls, moment: Tensor) -> Directions:
        """From a second moment (d, d)."""
        values, columns = torch.linalg.eigh(moment)
        values = values.clamp(min=0)
        return cls(columns, values / values.sum().clamp(min=1e-30))

    def part(self, rows: Tensor, alpha: float) -> Tensor:
        """Rows (n, d) times M = U diag(a s / ((a - 1) s + 1)) U^T; M itself, (d, d),
        is larger than the rows of most layers, and is not needed."""
        scale = alpha * self.share / ((alpha - 1) * self.share + 1)
        return ((rows @ self.columns) * scale) @ self.columns.T


def kept(
    model: nn.Module, found: Mapping[str, Directions], *, alpha: float
) -> nn.Module:
    """A new model whose weights see what the directions span: SAP's last step."""
    check_positive(alpha, "alpha")

    def part(of: Directions, weight: Tensor) -> Tensor:
        return of.part(weight.flatten(1), alpha)

    return rewritten(model, {name: partial(part, of) for name, of in found.items()})


@torch.no_grad()
def rewritten(
    model: nn.Module, edits: Mapping[str, Callable[[Tensor], Tensor]]
) -> nn.Module:
    """A new model: layer -> a function of its weight (n, ...), both in float64."""
    new = copy_of(model).eval()
    for name, edit in edits.items():
        layer = new.get_submodule(name)
        check_projectable(layer, name)
        layer.weight.copy_(edit(layer.weight.double()).view_as(layer.weight))
    return new


@torch.no_grad()
def input_moments(
    model: nn.Module, split: Split, layers: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """Layer -> X^T X (d, d) in float64 of its inputs; d is Cin k^2 for images.

    ``layers``: names; None takes all that run. Raises ``Unprojectable`` for one that
    cannot be projected, and where none is left.
    """
    names = [n for n, m in model.named_modules() if isinstance(m, SUPPORTED)]
    if layers is not None:
        names = list(layers)
        for name in names:
            get_layer(model, name)
    moments: dict[str, Tensor] = {}

    def see(call: Call) -> None:
        rows = layer_rows(call.module, call.name, call.input)
        # a batch in its own precision, twice as fast; batches are added in float64
        moments[call.name] = moments.get(call.name, 0) + (rows.T @ rows).double()

    with (
        reading(model, split.inputs) as batches,
        watching(model, names, see, before=True),
    ):
        for x in batches:
            model(x)
    if not moments:
        raise Unprojectable("no layer can be projected")
    return {n: check_finite(m, f"the input of {n!r}") for n, m in moments.items()}


def check_projectable(module: nn.Module, name: str) -> None:
    """Raise ``TypeError`` for a layer whose weight is not one matrix of its own."""
    check_own_weights(module, name)
    if not isinstance(module, SUPPORTED):
        raise Unprojectable(f"{type(module).__name__} {name!r} cannot be projected")
    if getattr(module, "groups", 1) != 1:
        raise Unprojectable(f"the grouped convolution {name!r} cannot be projected")


def layer_rows(module: nn.Module, name: str, x: Tensor) -> Tensor:
    """What the rows of a layer's weight are multiplied with: (rows, d). Of a
    convolution these are the patches that its kernel sees, those of a sample together.

    Raises ``TypeError`` for a layer that cannot be projected.

    >>> layer_rows(nn.Conv1d(1, 1, 2), "0", torch.tensor([[[1.0, 2, 3]]])).tolist()
    [[1.0, 2.0], [2.0, 3.0]]
    """
    check_projectable(module, name)
    if isinstance(module, nn.Linear):
        return x.flatten(0, -2)
    n, mode = len(module.kernel_size), module.padding_mode
    x = F.pad(x, margins(module), "constant" if mode == "zeros" else mode)
    reaches = zip(module.kernel_size, module.dilation, module.stride, strict=True)
    for axis, (size, dilation, stride) in enumerate(reaches, 2):
        x = x.unfold(axis, dilation * (size - 1) + 1, stride)[..., ::dilation]
    # (B, C, positions..., kernel...), without a copy so far
    return x.movedim(1, n + 1).flatten(n + 1).flatten(0, n)


def margins(module: nn.Module) -> list[int]:
    """What a convolution adds before and behind each axis, the last axis first."""
    if module.padding == "valid":
        return [0, 0] * len(module.kernel_size)
    if module.padding == "same":  # an odd one more behind
        sizes = zip(module.kernel_size, module.dilation, strict=True)
        added = [dilation * (size - 1) for size, dilation in sizes]
        pairs = [(both // 2, both - both // 2) for both in added]
    else:
        pairs = [(each, each) for each in module.padding]
    return [each for pair in reversed(pairs) for each in pair]
