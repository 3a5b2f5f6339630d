"""DAMP, reconstructed from its abstract: the class's own direction leaves every layer.

Source: Hatami, Aalishah and Monosov, arXiv 2604.15166 (April 2026), "Class Unlearning
via Depth-Aware Removal of Forget-Specific Directions". Only the abstract was at hand,
and no code. What it says: prototypes of the classes in the input space of each
learnable operator; forget directions as residuals relative to the retained classes'
prototypes; a projection of the weights; a scale without parameters, from the
separability that a probe finds, small in early layers and large in deep ones; low-rank
subspaces for several classes; one shot, closed form. What we guessed:

- a prototype of a convolution's input is the mean over positions, and the direction is
  one of its channels, the same at each place of the kernel;
- the residual is what is left of the class's prototype after a projection onto the
  *span* of the retained ones; where that is all (a layer with fewer inputs than
  classes retained), the layer is left alone;
- the probe is the nearest prototype, asked whether a sample is to be forgotten; with
  its balanced accuracy a, the scale is 2 a - 1, at least 0;
- all is computed on the original network, and the classifier is edited as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rlap.data.base import Split
from rlap.network.layers import SUPPORTED, get_layer
from rlap.repair.projection import Unprojectable, check_projectable, rewritten
from rlap.unlearning.common.begin import begin
from rlap.unlearning.common.features import layer_inputs
from rlap.unlearning.common.projecting import naming
from rlap.unlearning.common.splits import some

NEGLIGIBLE = 1e-5  # of the prototypes' size: a residual that is a rounding error


def forget_damp(
    model: nn.Module,
    forget: Split,
    retain: Split,
    *,
    strength: float = 1.0,
    samples: int = 900,
    layers: Sequence[str] | None = None,
    seed: int = 0,
) -> nn.Module:
    """Remove the class's own direction from what every layer reads: a new model.

    Args:
        strength: a factor of the scale of every layer; 1 is the method.
        samples: of each set, drawn from ``seed``.
        layers: names of linear layers and convolutions that run once; None takes all
            that are trained.

    Raises ``TypeError`` without a retain set, without a layer to project and for one
    that cannot be (a grouped convolution).
    Source and what was guessed: see the module.

    >>> model, split = nn.Linear(4, 3), Split(torch.rand(9, 4), torch.arange(9) % 3)
    >>> forget_damp(model, split.subset([2, 5, 8]), split.subset([0, 1, 3]))
    Linear(in_features=4, out_features=3, bias=True)
    """
    begin(model, forget, retain, both=True)
    found = removed(model, forget, retain, samples=samples, layers=layers, seed=seed)
    edits = {
        name: remover(directions, strength * scale)
        for name, (directions, scale) in found.items()
    }
    return rewritten(model, edits)


@naming("damp")
def removed(
    model: nn.Module,
    forget: Split,
    retain: Split,
    *,
    samples: int = 900,
    layers: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, tuple[Tensor, float]]:
    """Layer -> the directions (d, r) that leave its input, and how much of them, from 0
    to 1; arguments as in ``forget_damp``."""
    names = learnable(model) if layers is None else list(layers)
    few = [some(split, samples, seed) for split in (forget, retain)]
    ours, theirs = (layer_inputs(model, s, names, once=layers is not None) for s in few)
    if not ours:
        raise Unprojectable("no layer can be projected")
    found = {}
    for name in ours:
        check_projectable(get_layer(model, name), name)
        of_class = prototypes(ours[name], few[0].labels)
        others = prototypes(theirs[name], few[1].labels)
        scale = separability(ours[name], theirs[name], of_class, others)
        found[name] = residual_directions(of_class, others), scale
    return found


def learnable(model: nn.Module) -> list[str]:
    """Names of the linear layers and convolutions whose weights are trained."""
    return [
        name
        for name, m in model.named_modules()
        if isinstance(m, SUPPORTED) and m.weight.requires_grad
    ]


def prototypes(x: Tensor, labels: Tensor) -> Tensor:
    """Means (k, d) of the rows (N, d) of each class that occurs; float64."""
    labels = labels.to(x.device)
    return torch.stack([x[labels == c].double().mean(0) for c in labels.unique()])


def residual_directions(of_class: Tensor, others: Tensor) -> Tensor:
    """An orthonormal basis (d, r) of what the span of ``others`` (m, d) leaves of the
    prototypes ``of_class`` (k, d); r may be 0."""
    size = of_class.norm()
    known = basis(others.T, NEGLIGIBLE * others.norm())
    rest = of_class.T - known @ (known.T @ of_class.T)
    return basis(rest, NEGLIGIBLE * size)


def basis(columns: Tensor, least: Tensor) -> Tensor:
    """An orthonormal basis of columns (d, k), of singular values above ``least``."""
    u, s, _ = torch.linalg.svd(columns, full_matrices=False)
    return u[:, s > least]


def separability(
    ours: Tensor, theirs: Tensor, of_class: Tensor, others: Tensor
) -> float:
    """2 a - 1, at least 0, of the balanced accuracy a with which the nearest prototype
    tells rows to forget (N, d) from those to retain (M, d)."""

    def called_ours(x: Tensor) -> float:
        near, far = (torch.cdist(x.double(), p).amin(1) for p in (of_class, others))
        return (near < far).double().mean().item()

    return max(0.0, called_ours(ours) - called_ours(theirs))


def remover(directions: Tensor, scale: float):
    """What takes ``scale`` of the ``directions`` (d, r) from a weight (n, d, ...)."""

    def edit(weight: Tensor) -> Tensor:
        q = directions.to(weight.device)
        along = torch.einsum("nd...,dr->nr...", weight, q)
        return weight - scale * torch.einsum("nr...,dr->nd...", along, q)

    return edit
