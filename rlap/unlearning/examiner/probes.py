"""Do the features still know the class? Simple classifiers of what enters a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from rlap.checks import check_count, check_seed
from rlap.data.base import Split
from rlap.repair.retraining import centre_and_scale
from rlap.unlearning.common.begin import last_linear
from rlap.unlearning.common.features import layer_inputs
from rlap.unlearning.common.splits import ForgettingData, together


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

    >>> split = Split(torch.eye(3).repeat(4, 1), torch.arange(12) % 3)
    >>> probe(nn.Linear(3, 3), ForgettingData.of(split, split, 1)).linear_forget
    1.0
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
    from sklearn.linear_model import LogisticRegression  # here: it takes long to import

    mean, spread = centre_and_scale(x)
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


def balanced(data: ForgettingData, per_class: int, seed: int) -> Split:
    """At most ``per_class`` training samples of every class, the forgotten one too."""
    check_count(per_class, "per_class")
    generator = torch.Generator().manual_seed(check_seed(seed))
    both = together([data.forget, data.retain])
    order = torch.randperm(len(both), generator=generator, device="cpu")
    labels = both.labels.cpu()[order]
    rank = torch.zeros(len(both), dtype=torch.int64, device="cpu")
    for c in labels.unique():
        members = labels == c
        rank[members] = torch.arange(int(members.sum()), device="cpu")
    return both.subset(order[rank < per_class])
