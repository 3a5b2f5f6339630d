"""Do the features still know the class? Simple classifiers of what enters a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from rlap.checks import check_count, check_finite, check_seed
from rlap.data.base import Split
from rlap.network.layers import check_calls, evaluating, get_layer, pass_size, placing
from rlap.unlearning.common import last_linear, together
from rlap.unlearning.splits import ForgettingData


@dataclass(frozen=True)
class Probe:
    """Test accuracy of two simple classifiers of frozen features, over all classes.

    On the samples of the class to forget and of the others: a linear probe (logistic
    regression) and the nearest class mean.
    """

    linear_forget: float
    linear_retain: float
    nearest_mean_forget: float
    nearest_mean_retain: float


def probe(
    model: nn.Module,
    data: ForgettingData,
    *,
    layer: str | None = None,
    per_class: int = 200,
    seed: int = 0,
) -> Probe:
    """What the input of ``layer`` tells about the class to forget.

    Both classifiers are fitted on ``per_class`` training samples of every class, the
    forgotten one included, and measured on the test samples.

    Args:
        model: left as it was.
        layer: name of a Linear or Conv2d layer (maps and sequences are averaged over
            positions);
            None is the last linear layer, which is fed the penultimate features.
    """
    name = layer or last_linear(model, data.forget.inputs[:1])
    return probes(model, data, [name], per_class=per_class, seed=seed)[name]


def probes(
    model: nn.Module,
    data: ForgettingData,
    layers: Sequence[str],
    *,
    per_class: int = 200,
    seed: int = 0,
) -> dict[str, Probe]:
    """``probe`` of the inputs of several layers, in one pass over the data."""
    few = balanced(data, per_class, seed)
    tests = {"forget": data.forget_test, "retain": data.retain_test}
    learned = layer_inputs(model, few, layers)
    tested = {part: layer_inputs(model, s, layers) for part, s in tests.items()}
    return {
        name: fitted(
            learned[name],
            few.labels.cpu(),
            {k: (found[name], tests[k].labels.cpu()) for k, found in tested.items()},
        )
        for name in layers
    }


def fitted(x: Tensor, y: Tensor, tests: Mapping[str, tuple[Tensor, Tensor]]) -> Probe:
    """Both classifiers of features (N, d) and labels (N,), measured on ``tests``."""
    mean, spread = x.mean(0), x.std(0, correction=0).clamp(min=1e-8)
    x = (x - mean) / spread
    linear = LogisticRegression(max_iter=2000, random_state=0)
    with threadpool_limits(1):  # matrices so small are several times slower with two
        linear.fit(x.numpy(), y.numpy())
    classes = y.unique()
    centres = torch.stack([x[y == c].mean(0) for c in classes])  # (C, d)
    scores: dict[str, float] = {}
    for part, (z, truth) in tests.items():
        z = (z - mean) / spread
        guess = {
            "linear": torch.from_numpy(linear.predict(z.numpy())),
            "nearest_mean": classes[torch.cdist(z, centres).argmin(1)],
        }
        for kind, predicted in guess.items():
            scores[f"{kind}_{part}"] = (predicted == truth).double().mean().item()
    return Probe(**scores)


def features(model: nn.Module, split: Split, layer: str) -> Tensor:
    """What enters ``layer``, averaged over positions: (N, d) on the CPU."""
    return layer_inputs(model, split, [layer])[layer]


@torch.no_grad()
def layer_inputs(
    model: nn.Module, split: Split, layers: Sequence[str]
) -> dict[str, Tensor]:
    """What enters each layer, averaged over positions: layer -> (N, d) on the CPU.

    Raises ``KeyError`` for an unknown layer, ``ValueError`` for one that does not run
    exactly once and for values that are not finite.
    """
    place = placing(model, split.inputs)
    seen: dict[str, list[Tensor]] = {name: [] for name in layers}
    hooks = [
        get_layer(model, name).register_forward_pre_hook(
            lambda m, args, name=name: seen[name].append(over_positions(m, args[0]))
        )
        for name in layers
    ]
    passes = split.inputs.split(pass_size(split.inputs, None))
    try:
        with evaluating(model):
            for x in passes:
                model(place(x))
    finally:
        for hook in hooks:
            hook.remove()
    found = {}
    for name, parts in seen.items():
        check_calls(len(parts) // len(passes), name)
        found[name] = check_finite(torch.cat(parts), f"the input of {name!r}")
    return found


def over_positions(layer: nn.Module, x: Tensor) -> Tensor:
    """The mean (N, d) of a layer's input over pixels (N, d, H, W) of a convolution or
    tokens (N, ..., d) of a linear layer, on the CPU."""
    if isinstance(layer, nn.Conv2d):
        return x.float().mean((2, 3)).cpu()
    return (x.flatten(1, -2).float().mean(1) if x.dim() > 2 else x.float()).cpu()


def balanced(data: ForgettingData, per_class: int, seed: int) -> Split:
    """At most ``per_class`` training samples of every class, the forgotten one too."""
    check_count(per_class, "per_class")
    generator = torch.Generator().manual_seed(check_seed(seed))
    both = together([data.forget, data.retain])
    order = torch.randperm(len(both), generator=generator)
    labels = both.labels.cpu()[order]
    rank = torch.zeros(len(both), dtype=torch.int64)
    for c in labels.unique():
        members = labels == c
        rank[members] = torch.arange(int(members.sum()))
    return both.subset(order[rank < per_class])
