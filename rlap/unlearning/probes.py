"""Does the network still know the class? Probes of its features, and relearning."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from rlap.checks import check_count, check_finite, check_number, check_rate, check_seed
from rlap.data.base import Split
from rlap.finetuning import cache_features
from rlap.inference import accuracy
from rlap.layers import (
    evaluating,
    model_device,
    preserved_random_state,
    to_train,
)
from rlap.unlearning.common import last_linear, some, together
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
        layer: name of a Linear or Conv2d layer (maps are averaged over positions);
            None is the last linear layer, which is fed the penultimate features.
    """
    name = layer or last_linear(model, data.forget.inputs[:1])
    few = balanced(data, per_class, seed)
    x, y = features(model, few, name), few.labels.cpu()
    mean, spread = x.mean(0), x.std(0, correction=0).clamp(min=1e-8)
    x = (x - mean) / spread
    linear = LogisticRegression(max_iter=2000, random_state=0)
    with threadpool_limits(1):  # matrices so small are several times slower with two
        linear.fit(x.numpy(), y.numpy())
    classes = y.unique()
    centres = torch.stack([x[y == c].mean(0) for c in classes])  # (C, d)
    scores: dict[str, float] = {}
    for part in ("forget", "retain"):
        split = getattr(data, f"{part}_test")
        z, truth = (features(model, split, name) - mean) / spread, split.labels.cpu()
        guess = {
            "linear": torch.from_numpy(linear.predict(z.numpy())),
            "nearest_mean": classes[torch.cdist(z, centres).argmin(1)],
        }
        for kind, predicted in guess.items():
            scores[f"{kind}_{part}"] = (predicted == truth).double().mean().item()
    return Probe(**scores)


def features(model: nn.Module, split: Split, layer: str) -> Tensor:
    """What enters ``layer``, averaged over positions: (N, d) on the CPU."""
    found = cache_features(model, split, layer, "fp32").inputs
    found = found.mean((2, 3)) if found.dim() == 4 else found.flatten(1)
    return check_finite(found, f"the input of {layer!r}").cpu()


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


@dataclass(frozen=True)
class Relearning:
    """How fast a class comes back.

    ``steps``: until the accuracy on the class reached ``target`` and that on the others
    ``keep``, None if they did not; ``accuracy``, ``retained``: of the class's and the
    others' test samples before the first step and after each.
    """

    steps: int | None
    target: float
    keep: float
    accuracy: tuple[float, ...]
    retained: tuple[float, ...]


def relearn(
    model: nn.Module,
    data: ForgettingData,
    *,
    target: float,
    keep: float,
    per_class: int = 50,
    batch_size: int = 64,
    lr: float = 0.01,
    max_steps: int = 50,
    test_samples: int = 200,
    fresh_head: bool = False,
    seed: int = 0,
) -> Relearning:
    """Train a copy on a few samples of every class until the forgotten one is back.

    Plain SGD in eval mode (BatchNorm statistics stay).

    Args:
        model: left as it was.
        target: accuracy on ``data.forget_test`` to reach, usually half of the original
            model's.
        keep: accuracy on ``data.retain_test`` to have at the same time, so that
            answering the class to everything does not count.
        test_samples: at most, of either, on which that is measured.
        fresh_head: draw the last layer anew first: then only the features help, and a
            bias of -1e9 does not hide them.
    """
    check_rate(target, "target")
    check_rate(keep, "keep")
    check_count(max_steps, "max_steps")
    check_count(batch_size, "batch_size")
    if check_number(lr, "lr") <= 0:
        raise ValueError(f"lr must be positive, not {lr}")
    new = copy.deepcopy(model).eval()
    if fresh_head:
        head = new.get_submodule(last_linear(new, data.forget.inputs[:1]))
        with preserved_random_state(model_device(new), seed):
            head.reset_parameters()
    few = balanced(data, per_class, seed).to(model_device(new))
    generator = torch.Generator().manual_seed(seed)
    parameters = [p for p in new.parameters() if p.requires_grad]
    watched = [
        some(s, test_samples, seed) for s in (data.forget_test, data.retain_test)
    ]
    scores: list[tuple[float, ...]] = []

    def reached() -> bool:
        scores.append(tuple(accuracy(new, split) for split in watched))
        return scores[-1][0] >= target and scores[-1][1] >= keep

    while not (done := reached()) and len(scores) <= max_steps:
        index = torch.randperm(len(few), generator=generator)[:batch_size]
        descend(new, parameters, few, index.to(few.inputs.device), lr)
    steps = len(scores) - 1 if done else None
    return Relearning(steps, target, keep, *zip(*scores, strict=True))


def descend(
    model: nn.Module, parameters: list, split: Split, index: Tensor, lr: float
) -> None:
    """One step of plain gradient descent on the samples ``index``, in place."""
    with torch.enable_grad(), evaluating(model):
        logits = model(to_train(split.inputs[index], model))
        loss = F.cross_entropy(logits, split.labels[index])
        gradients = torch.autograd.grad(loss, parameters)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.sub_(gradient, alpha=lr)
