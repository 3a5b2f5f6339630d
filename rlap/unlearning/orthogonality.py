"""OSP's training: a penalty that keeps the kernels of convolutions orthogonal."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlap.checks import check_level


@dataclass(frozen=True)
class KernelOrthogonality:
    """strength * sum over convolutions of ||G - I||_F^2, a ``penalty`` for ``train``.

    G is the Gram matrix of the kernels, W W^T with W (Cout, Cin k^2), or W^T W where
    there are more kernels than values in one (they cannot all be orthogonal).
    Convolutions that are not trained are left out; at strength 0 the penalty is exactly
    nothing. Source: Gong et al., section on orthogonal regularisation; strength 1e-3 as
    a re-implementation of its successor has it.
    """

    strength: float = 1e-3

    def __post_init__(self) -> None:
        check_level(self.strength, "strength")

    def __call__(self, model: nn.Module) -> Tensor:
        weights = [
            module.weight
            for module in model.modules()
            if isinstance(module, nn.Conv2d) and module.weight.requires_grad
        ]
        if not weights:
            raise TypeError("kernel orthogonality needs an nn.Conv2d that is trained")
        if self.strength == 0:
            return weights[0].new_zeros(())
        return self.strength * sum(gram_error(weight) for weight in weights)


def gram_error(weight: Tensor) -> Tensor:
    """||G - I||_F^2 of one convolution's weight (Cout, Cin, k, k): a scalar."""
    rows = weight.flatten(1)
    if rows.shape[0] > rows.shape[1]:
        rows = rows.T
    gram = rows @ rows.T
    return (gram - torch.eye(len(gram), device=gram.device)).square().sum()
