"""OSP: orthogonal training, then soft suppression of a class's channels.

While training, a penalty keeps the kernels of every convolution orthogonal (see
``orthogonality``). To forget class c, the channels of each convolution that respond
more to c than to the others are scaled down; their ranking comes from class means that
were computed once after training, so that forgetting is a scaling of weights and needs
no data. Source: Gong et al., arXiv 2506.19891. No code is public and
the text that was at hand is incomplete: where it is silent this is a reconstruction,
and the three readings of "scaling a channel" are all there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from rlap.checks import check_count, check_one_of, check_rate
from rlap.data.base import Split
from rlap.network.copying import copy_of
from rlap.network.layers import get_layer
from rlap.network.modes import check_own_weights
from rlap.unlearning.common.begin import begin
from rlap.unlearning.common.statistics import (
    ClassStatistics,
    class_statistics,
    response_sites,
)

READINGS = ("weight", "batchnorm", "gate")
SCORES = ("difference", "standardised")


def channel_scores(
    statistics: ClassStatistics, label: int, score: str = "difference"
) -> dict[str, Tensor]:
    """Mean response to ``label`` less that to all other samples: layer -> (d,).

    The ``score`` "standardised" is a control: its size, either way round, in the
    channel's standard deviations. Raises ``ValueError`` for a class that is absent or
    out of range, or the only one, and for an unknown score.
    """
    check_one_of(score, SCORES, "score")
    counts = statistics.counts
    check_count(label, "the class to forget", minimum=0, maximum=len(counts) - 1)
    if counts[label] == 0:
        raise ValueError(f"the statistics hold no sample of class {label}")
    others = counts.clone()
    others[label] = 0
    if others.sum() == 0:
        raise ValueError(f"the statistics hold no class but {label}")
    share = (others / others.sum()).float()
    found = {
        name: means[label] - share @ means for name, means in statistics.means.items()
    }
    if score == "difference":
        return found
    # a channel that never varies tells nothing; its difference is a rounding error
    return {
        name: torch.where(spread > 1e-6, found[name].abs() / spread, 0.0)
        for name, spread in statistics.spreads.items()
    }


def suppression(count: int, floor: float) -> Tensor:
    """Strengths max(floor, 1 - r / count) of ``count`` channels, rank r = 1, 2, ..."""
    rank = torch.arange(1, count + 1, device="cpu")
    return (1 - rank / count).clamp(min=floor)


def forget_osp(
    model: nn.Module,
    forget: Split,
    retain: Split | None = None,
    *,
    statistics: ClassStatistics | None = None,
    fraction: float = 0.25,
    floor: float = 0.5,
    reading: str = "batchnorm",
    layers: Sequence[str] | None = None,
) -> nn.Module:
    """Suppress the channels that respond most to the class: a new model.

    Args:
        model: any network with convolutions; untouched.
        forget: names the class; its samples are used only without ``statistics``.
        retain: the same.
        statistics: class means of this very model; None computes them here.
        fraction, floor, reading, layers: see ``soft_prune``.

    Raises ``ValueError`` for a bad forget set, statistics from another model and no
    data to compute them from; else as ``soft_prune``.

    >>> conv, norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
    >>> model = nn.Sequential(conv, norm, nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    >>> split = Split(torch.rand(6, 1, 4, 4), torch.arange(6) % 3)
    >>> forget_osp(model, split.subset([2, 5]), split.subset([0, 1]))[1].weight.min()
    tensor(0.5000, grad_fn=<MinBackward1>)
    """
    new, (label,), *_ = begin(model, forget, retain, single=True)
    check_setting(fraction, floor, reading)
    if statistics is None:
        if retain is None:
            raise ValueError("without statistics OSP needs the retain set")
        places(response_sites(new, layers), reading)  # before the pass over the data
        statistics = class_statistics(new, [forget, retain])
    setting = {"fraction": fraction, "floor": floor, "reading": reading}
    return soft_prune(new, statistics, label, layers=layers, **setting)


def soft_prune(
    model: nn.Module,
    statistics: ClassStatistics,
    label: int,
    *,
    fraction: float = 0.25,
    floor: float = 0.5,
    reading: str = "batchnorm",
    layers: Sequence[str] | None = None,
    score: str = "difference",
) -> nn.Module:
    """Scale channels by one minus their strength, from cached statistics: a new model.

    In each layer the ceil(fraction * d) channels with the largest score are taken, and
    the one of rank r loses max(floor, 1 - r / k) of its output.

    Args:
        model: the model that the statistics are of; untouched.
        statistics: see ``class_statistics``.
        label: the class to forget.
        fraction: of each layer's channels, in (0, 1].
        floor: least strength, in [0, 1]; 1 removes the channels altogether.
        reading: what is scaled. "weight": the kernel alone, the literal words, which a
            BatchNorm that follows undoes in part. "batchnorm": scale and shift of the
            BatchNorm, which is the gate of the channel after ReLU. "gate": the output
            itself, by a buffer ``gate`` of the module (part of the state_dict).
        layers: names of convolutions; None takes all that the statistics know and
            the reading suits.
        score: see ``channel_scores``.

    Raises ``ValueError`` for statistics from another model, a class that is absent and
    settings out of range, ``TypeError`` for a reading that a layer has no place for
    (also where that is computed from other parameters: the gate suits all),
    ``KeyError`` for a layer without statistics.

    >>> conv, last = nn.Conv2d(1, 4, 3), nn.Linear(16, 3)
    >>> model = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), last)
    >>> split = Split(torch.rand(6, 1, 4, 4), torch.arange(6) % 3)
    >>> known = class_statistics(model, split)
    >>> soft_prune(model, known, 2, reading="gate")[0].gate.sort().values
    tensor([0.5000, 1.0000, 1.0000, 1.0000])
    """
    check_setting(fraction, floor, reading)
    statistics.check(model)
    scores = channel_scores(statistics, label, score)
    names = list(layers) if layers is not None else suited(statistics, reading)
    if missing := [name for name in names if name not in scores]:
        raise KeyError(f"the statistics know no layer {missing[0]!r}")
    new = copy_of(model)
    for name in names:
        chosen = first_channels(scores[name], fraction)
        factor = torch.ones_like(scores[name])
        factor[chosen] = (1 - suppression(len(chosen), floor)).to(factor)
        scale_channels(new, name, statistics.sites[name], factor, reading)
    return new


def check_setting(fraction: float, floor: float, reading: str) -> None:
    """Raise ``ValueError`` for a setting that is out of range."""
    check_one_of(reading, READINGS, "reading")
    check_rate(floor, "floor")
    if check_rate(fraction, "fraction") == 0:
        raise ValueError("fraction must be above 0: no channel would be suppressed")


def first_channels(scores: Tensor, fraction: float) -> Tensor:
    """The ceil(fraction * d) channels with the largest scores (d,), by rank."""
    return scores.topk(math.ceil(fraction * len(scores))).indices


def last_stage(model: nn.Module, names: Sequence[str]) -> list[str]:
    """Of the convolutions ``names`` those with as many channels as the last of them."""
    width = get_layer(model, names[-1]).out_channels
    return [name for name in names if get_layer(model, name).out_channels == width]


def suited(statistics: ClassStatistics, reading: str) -> list[str]:
    """The convolutions that ``reading`` can scale: for "batchnorm" those with one."""
    return places({name: statistics.sites[name] for name in statistics.means}, reading)


def places(sites: Mapping[str, str], reading: str) -> list[str]:
    """The same of ``response_sites``; ``TypeError`` where there are none."""
    found = [n for n, site in sites.items() if reading != "batchnorm" or site != n]
    if not found:
        raise TypeError(
            "no convolution is followed by a BatchNorm; use reading='gate' or 'weight'"
        )
    return found


def usual_reading(model: nn.Module) -> str:
    """ "batchnorm" where a BatchNorm follows a convolution, else "gate"."""
    sites = response_sites(model, None)
    return "batchnorm" if any(n != site for n, site in sites.items()) else "gate"


@torch.no_grad()
def scale_channels(
    model: nn.Module, name: str, site: str, factor: Tensor, reading: str
) -> None:
    """Multiply the channels of convolution ``name`` by ``factor`` (d,), in place, where
    ``reading`` has them scaled; ``site`` is that of the statistics."""
    conv = get_layer(model, name)
    factor = factor.to(conv.weight.device)
    if reading == "weight":
        check_own_weights(conv, name)
        conv.weight.mul_(factor.view(-1, 1, 1, 1))
    elif reading == "batchnorm":
        if site == name:
            raise TypeError(
                f"no BatchNorm follows {name!r}; use reading='gate' or 'weight'"
            )
        norm = model.get_submodule(site)
        check_own_weights(norm, site)
        norm.weight.mul_(factor)
        norm.bias.mul_(factor)
    else:
        module = model.get_submodule(site)
        if hasattr(module, "gate"):
            module.gate.mul_(factor)
        else:
            module.register_buffer("gate", factor)
            module.register_forward_hook(apply_gate)


def apply_gate(module: nn.Module, args: tuple, output: Tensor) -> Tensor:
    """A forward hook: the output (B, d, H, W) times the module's gate (d,)."""
    return output * module.gate.view(1, -1, 1, 1)
