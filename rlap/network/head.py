"""The head of a network as a function of one layer's pre-activations.

A hook on the layer cuts the graph there, so that gradients run through what follows it
and never through the backbone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlap.network.layers import check_calls, check_output, check_rows
from rlap.network.watching import Call, watching


@dataclass
class Head:
    """A forward pass cut at the layer: ``logits`` (B, C) as a function of ``z``.

    ``linear`` is the last Linear layer if the logits are its output and its input is
    exactly ReLU(z); then the gradient has a closed form.
    """

    z: Tensor
    logits: Tensor
    linear: nn.Linear | None = None
    name: str = ""


def run_head(model: nn.Module, x: Tensor, name: str) -> Head:
    """Forward ``x`` (B, ...) without a graph up to the layer and with one after it."""
    zs: list[Tensor] = []
    ran: list[tuple[nn.Linear, Tensor, Tensor, object]] = []  # the last Linear layer

    def cut(call: Call) -> Tensor:
        torch.set_grad_enabled(True)  # until the no_grad block below ends
        zs.append(call.output.detach().requires_grad_())
        return zs[-1].clone()  # a copy, so that an in-place ReLU may follow

    def remember(call: Call) -> None:
        ran[:] = [(call.module, call.input, call.output, call.output.grad_fn)]

    linear = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    others = [n for n in linear if n != name]
    with (
        watching(model, [name], cut),
        watching(model, others, remember),
        torch.no_grad(),
    ):
        output = model(x)
    check_calls(len(zs), name)
    check_rows(model, name, zs[0].shape, x)
    logits, z = check_output(output, name, len(x)), zs[0]
    if not logits.requires_grad:
        raise ValueError(f"the logits do not depend on layer {name!r}")
    return Head(z, logits, closed_head(z, logits, *ran[0]) if ran else None, name)


def closed_head(
    z: Tensor, logits: Tensor, linear: nn.Linear, seen: Tensor, made: Tensor, by: object
) -> nn.Linear | None:
    """``linear`` if the logits are what it made of exactly ReLU(z), else None.

    ``seen`` is its input, ``made`` its output, computed ``by`` a node of the graph: an
    operation in place on the output keeps the tensor but not that node.
    """
    same = made is logits and logits.grad_fn is by and seen.requires_grad
    same = same and seen.shape == z.shape and torch.equal(seen, z.relu())
    # someone else's hook may have changed the output
    few = slice(0, 8)
    same = same and torch.allclose(
        logits[few], F.linear(seen[few], linear.weight, linear.bias), 1e-4, 1e-5
    )
    return linear if same else None


def connected(gradient: Tensor | None, head: Head) -> Tensor:
    """``gradient``, or a clear error when none leads from the logits to the layer."""
    if gradient is None:
        raise ValueError(f"the logits do not depend on layer {head.name!r}")
    return gradient


def batched_gradient(logits: Tensor, z: Tensor, seeds: Tensor) -> Tensor | None:
    """Vector-Jacobian products for a stack of seeds (k, B, C) -> (k, *z.shape).

    None when the logits do not depend on z.
    """
    options = {"retain_graph": True, "allow_unused": True}
    try:
        return torch.autograd.grad(logits, z, seeds, is_grads_batched=True, **options)[
            0
        ]
    except RuntimeError:  # an operation in this head that vmap cannot batch
        rows = [torch.autograd.grad(logits, z, seed, **options)[0] for seed in seeds]
        return None if rows[0] is None else torch.stack(rows)
