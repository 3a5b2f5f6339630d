"""Rules of layer-wise relevance propagation: how a linear map shares relevance out.

A linear map gives outputs z_k = sum_j c_jk + b_k with contributions c_jk = a_j w_jk.
Every rule here hands each contribution a multiple of itself, one factor for positive
contributions and one for negative ones:

    R_j = sum_k (s+_k max(c_jk, 0) + s-_k min(c_jk, 0))

so that a rule is only a choice of s+ and s-, and what biases and the stabiliser take
can be told exactly. Sources: Bach et al. (2015); Montavon et al. (2019).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rlap.checks import check_level, check_number, check_one_of, check_positive

RULES = ("epsilon", "gamma", "alpha_beta")


@dataclass(frozen=True)
class Rule:
    """One propagation rule.

    Attributes:
        name: "epsilon": s+ = s- = R / z. "gamma": contributions of the sign of z count
            (1 + gamma) times. "alpha_beta": positive contributions share alpha R,
            negative ones (1 - alpha) R; where one side is empty the other takes all.
        epsilon: stabiliser added to every denominator, away from zero.
        gamma: >= 0, for "gamma".
        alpha: >= 1, for "alpha_beta"; beta = alpha - 1.

    Raises ``ValueError`` for anything out of range.

    >>> Rule("alpha_beta", alpha=2.0).name
    'alpha_beta'
    """

    name: str = "epsilon"
    epsilon: float = 1e-6
    gamma: float = 0.25
    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_one_of(self.name, RULES, "rule")
        check_positive(self.epsilon, "epsilon")
        check_level(self.gamma, "gamma")
        if check_number(self.alpha, "alpha") < 1:
            raise ValueError(f"alpha must be at least 1, not {self.alpha}")

    def factors(self, pos: Tensor, neg: Tensor, R: Tensor) -> tuple[Tensor, Tensor]:
        """s+ and s- for outputs with positive part ``pos`` >= 0, negative part ``neg``
        <= 0 (biases included) and relevance ``R``, all of one shape."""
        if self.name == "alpha_beta":
            share = torch.where(neg < 0, self.alpha, 1.0)
            share = torch.where(pos > 0, share, 0.0).to(R.dtype)
            up = share * R / (pos + self.epsilon)
            return up, (1 - share) * R / (neg - self.epsilon)
        z, gamma = pos + neg, self.gamma if self.name == "gamma" else 0.0
        positive = z >= 0
        favoured = gamma * torch.where(positive, pos, neg)
        s = R / (z + favoured + torch.where(positive, self.epsilon, -self.epsilon))
        more = (1 + gamma) * s
        return torch.where(positive, more, s), torch.where(positive, s, more)


@dataclass
class LinearMap:
    """A linear map of one or more tensors, z = whole(xs) + bias.

    Attributes:
        whole: the map without its bias.
        up, down: the same with only its weights >= 0, and <= 0 (None: there are none).
        uniform: the same with every weight that exists set to one.
        bias: broadcastable to z, or None.
    """

    whole: Callable[..., Tensor]
    up: Callable[..., Tensor]
    down: Callable[..., Tensor] | None
    uniform: Callable[..., Tensor]
    bias: Tensor | None = None


@dataclass
class Shared:
    """Relevance of the inputs, and what of it biases and stabiliser took, (B,) each."""

    inputs: list[Tensor]
    bias: Tensor
    stabiliser: Tensor


def share(
    linear: LinearMap, xs: list[Tensor], R: Tensor, rule: Rule, spread: bool
) -> Shared:
    """Send the relevance ``R`` of a linear map's output back to its inputs ``xs``.

    With ``spread``, what biases and stabiliser would take goes to the inputs in equal
    parts instead, so that nothing is lost.
    """
    with torch.enable_grad():
        highs = [x.detach().clamp(min=0).requires_grad_() for x in xs]
        lows = [x.detach().clamp(max=0).requires_grad_() for x in xs]
        pos, neg = linear.up(*highs), linear.up(*lows)
        if linear.down is not None:
            pos, neg = pos + linear.down(*lows), neg + linear.down(*highs)
    zero = R.new_zeros(())
    bias = zero if linear.bias is None else linear.bias
    high, low = bias.clamp(min=0), bias.clamp(max=0)
    up, down = rule.factors(pos.detach() + high, neg.detach() + low, R)
    gradients = torch.autograd.grad([pos, neg], [*highs, *lows], [up, down])
    shared = [
        h.detach() * g + low_part.detach() * k
        for h, low_part, g, k in zip(
            highs, lows, gradients[: len(xs)], gradients[len(xs) :], strict=True
        )
    ]
    to_bias = high * up + low * down
    rest = R - pos.detach() * up - neg.detach() * down  # bias and stabiliser together
    if spread:
        extra = equal_parts(linear.uniform, xs, rest)
        shared = [one + other for one, other in zip(shared, extra, strict=True)]
        return Shared(shared, R.new_zeros(len(R)), R.new_zeros(len(R)))
    return Shared(shared, per_sample(to_bias), per_sample(rest - to_bias))


def equal_parts(
    uniform: Callable[..., Tensor], xs: list[Tensor], R: Tensor
) -> list[Tensor]:
    """``R`` (B, ...) divided equally among all the inputs that each output has."""
    with torch.enable_grad():
        ones = [torch.ones_like(x).requires_grad_() for x in xs]
        count = uniform(*ones)
    return list(torch.autograd.grad(count, ones, R / count.detach()))


def per_sample(values: Tensor) -> Tensor:
    """Sum of everything that belongs to one sample: (B, ...) -> (B,)."""
    return values.flatten(1).sum(dim=1)
