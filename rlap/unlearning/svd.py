"""The SVD projection: take from every layer's input what only the class needs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlap.checks import check_finite, check_number
from rlap.data.base import Split
from rlap.network.layers import SUPPORTED, evaluating, get_layer, pass_size, placing
from rlap.network.modes import check_own_weights
from rlap.unlearning.common import begin, some


def forget_svd_projection(
    model: nn.Module,
    forget: Split,
    retain: Split,
    *,
    alpha_retain: float = 100.0,
    alpha_forget: float = 3.0,
    samples: int = 900,
    layers: Sequence[str] | None = None,
    seed: int = 0,
) -> nn.Module:
    """Project from every layer's input what the class needs and the others do not.

    For each layer the inputs (patches, for a convolution) of both sets are decomposed;
    with U the directions and s their shares of the variance about zero,
    M = U diag(a s / ((a - 1) s + 1)) U^T measures how much a set uses each direction,
    and W becomes W (I - (M_f - M_r M_f)): an input x loses M_f x, what the class uses
    of it, less what the others use of that. (The authors' I - (M_f - M_f M_r) is
    transposed where it meets the weights.) No gradients and no training.

    Args:
        alpha_retain, alpha_forget: a of each set (100 and 3 in the authors' code).
        samples: of each set, drawn from ``seed``.
        layers: names of Linear and Conv2d layers; None takes all that run. Of one that
            runs several times, the inputs of all its runs count.

    Raises ``TypeError`` without a retain set, for a layer of another kind and for one
    whose weight is computed from other parameters, ``KeyError`` for an unknown one,
    ``ValueError`` for settings out of range. Source: Kodge et al. (TMLR 2024).
    """
    begin(model, forget, retain, both=True)
    check_alphas(alpha_retain, alpha_forget)
    options = {"samples": samples, "layers": layers, "seed": seed}
    found = directions(model, forget, retain, **options)
    return projected(model, found, alpha_retain=alpha_retain, alpha_forget=alpha_forget)


def check_alphas(alpha_retain: float, alpha_forget: float) -> None:
    """Raise ``ValueError`` for an a that is not positive."""
    for name, value in (("alpha_retain", alpha_retain), ("alpha_forget", alpha_forget)):
        if check_number(value, name) <= 0:
            raise ValueError(f"{name} must be positive, not {value}")


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


def directions(
    model: nn.Module,
    forget: Split,
    retain: Split,
    *,
    samples: int = 900,
    layers: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, tuple[Directions, Directions]]:
    """Layer -> directions of the forget and of the retain set, whatever the a are;
    arguments as in ``forget_svd_projection``."""
    of_forget, of_retain = (
        input_moments(model, some(split, samples, seed), layers)
        for split in (forget, retain)
    )
    return {
        name: (Directions.of(moment), Directions.of(of_retain[name]))
        for name, moment in of_forget.items()
    }


@torch.no_grad()
def projected(
    model: nn.Module,
    found: dict[str, tuple[Directions, Directions]],
    *,
    alpha_retain: float = 100.0,
    alpha_forget: float = 3.0,
) -> nn.Module:
    """A new model whose weights no longer see what only the class needs."""
    check_alphas(alpha_retain, alpha_forget)
    new = copy.deepcopy(model).eval()
    for name, (forget, retain) in found.items():
        weight = new.get_submodule(name).weight
        rows = weight.flatten(1).double()
        unused = rows - retain.part(rows, alpha_retain)  # W (I - M_r)
        weight.copy_((rows - forget.part(unused, alpha_forget)).view_as(weight))
    return new


@torch.no_grad()
def input_moments(
    model: nn.Module, split: Split, layers: Sequence[str] | None
) -> dict[str, Tensor]:
    """Layer -> X^T X (d, d) in float64 of its inputs; d is Cin k^2 for convolutions."""
    modules = dict(model.named_modules())
    names = [n for n, m in modules.items() if isinstance(m, SUPPORTED)]
    if layers is not None:
        names = list(layers)
        for name in names:
            get_layer(model, name)
    place = placing(model, split.inputs)
    moments: dict[str, Tensor] = {}

    def add(name: str, module: nn.Module, x: Tensor) -> None:
        rows = layer_rows(module, name, x).double()
        moments[name] = moments.get(name, 0) + rows.T @ rows

    hooks = [
        modules[name].register_forward_pre_hook(
            lambda m, args, name=name: add(name, m, args[0])
        )
        for name in names
    ]
    try:
        with evaluating(model):
            for x in split.inputs.split(pass_size(split.inputs, None)):
                model(place(x))
    finally:
        for hook in hooks:
            hook.remove()
    return {n: check_finite(m, f"the input of {n!r}") for n, m in moments.items()}


def layer_rows(module: nn.Module, name: str, x: Tensor) -> Tensor:
    """What the rows of a layer's weight are multiplied with: (rows, d).

    Raises ``TypeError`` for a layer that cannot be projected.
    """
    check_own_weights(module, name)
    if isinstance(module, nn.Linear):
        return x.flatten(0, -2)
    if module.groups != 1 or module.padding_mode != "zeros":
        raise TypeError(f"grouped or padded convolution {name!r} cannot be projected")
    if isinstance(module.padding, str):
        raise TypeError(f"give convolution {name!r} its padding in numbers")
    patches = F.unfold(
        x, module.kernel_size, module.dilation, module.padding, module.stride
    )  # (B, d, positions)
    return patches.transpose(1, 2).flatten(0, 1)
