"""What a cheap pass over data tells: predictions, features, statistics of the inputs,
and which of these are bad."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlap.checks import check_logit_values
from rlap.network.layers import apart, check_logits, evaluating, placing
from rlap.network.precision import own_precision
from rlap.network.watching import Call, watching
from rlap.partition import partition
from rlap.repair.samples import Samples

MOST_FEATURES = 512  # values a sample that are kept; more are projected
MIRRORED = 0.95  # of the accuracy, that a network keeps on mirror images if it may
# of the inputs, by which bad ones are told; a last one is their mean
STATISTICS = ("values at their bounds", "roughness", "spread", "extremes")
SPREAD, MEAN = 2, 4
FEWEST_INPUTS = 50  # of which some can stand apart
APART = 3.5  # Ashman's D of one statistic's two groups, to be believed
SMALLEST_GROUP = 0.005  # share of the samples
LARGEST_GROUP = 0.7
CLASSES = 0.2  # of the groups' variance, that classes may explain
WORSE = 4.0  # standard errors by which the bad group must be less well predicted,
WRONG_MORE_OFTEN = 2.0  # and by which it must be predicted wrongly more often


@dataclass
class Seen:
    """What one pass saw of N samples: probabilities (N, C), features (N, d), statistics
    of the inputs (N, 5), labels (N,) and ids; whether mirror images were used; of
    tables the inputs (N, d) themselves."""

    probabilities: Tensor
    features: Tensor
    statistics: Tensor
    labels: Tensor
    ids: list
    mirrored: bool = False
    inputs: Tensor | None = None

    @property
    def accuracy(self) -> float:
        """Share of the samples that the network classifies as labelled."""
        return (self.probabilities.argmax(1) == self.labels).float().mean().item()


@own_precision()
@torch.no_grad()
def look(model: nn.Module, samples: Samples, mirror: bool | None = None) -> Seen:
    """One pass of ``model`` over the samples, a batch at a time, on its device.

    Images are shown mirrored, too, and the probabilities averaged, where the network is
    as good on mirror images (``mirror`` None), or where ``mirror`` says so.
    """
    kept: dict[str, Tensor] = {}
    names: list = []
    place, projections = None, {}
    with evaluating(model):
        for inputs, labels, ids in samples.batches():
            place = place or placing(model, inputs[:1])
            logits, features = with_features(model, apart(place(inputs), inputs))
            if not names:
                check_logit_values(logits)
            found = {"p": logits.softmax(1), "labels": labels}
            if inputs.dim() == 4 and mirror is not False:
                other = check_logits(model(place(inputs.flip(-1)))).float()
                found["mirrored"] = other.softmax(1)
            found["statistics"] = statistics(inputs)
            wide = {"features": features}
            if inputs.dim() == 2:
                wide["inputs"] = inputs.float()
            for name, rows in wide.items():
                if not names:
                    projections[name] = projection(rows)
                matrix = projections[name]
                found[name] = rows if matrix is None else rows @ matrix
            for name, rows in found.items():  # in place: no second copy at the end
                if name not in kept:
                    shape = (len(samples), *rows.shape[1:])
                    kept[name] = torch.empty(shape, dtype=rows.dtype, device="cpu")
                kept[name][len(names) : len(names) + len(rows)] = rows
            names += ids
    p, labels = kept["p"], kept["labels"]
    if p.shape[1] == 1:
        raise ValueError(
            "the model returns one logit; two are needed, and (0, z) are as probable: "
            "output=lambda z: torch.cat([torch.zeros_like(z), z], 1)"
        )
    if int(labels.max()) >= p.shape[1]:
        raise ValueError(
            f"the model tells {p.shape[1]} classes apart, counted from 0; labels go "
            f"up to {int(labels.max())}"
        )
    if "mirrored" in kept:
        other = kept["mirrored"]
        right = [(each.argmax(1) == labels).float().mean() for each in (p, other)]
        mirror = bool(right[1] >= MIRRORED * right[0]) if mirror is None else mirror
        p = (p + other) / 2 if mirror else p
    about = kept["features"], kept["statistics"], labels, names, bool(mirror)
    return Seen(p, *about, kept.get("inputs"))


def with_features(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, C) of a batch and what entered the Linear layer that made them, (B,
    d); the logits themselves, where no such layer did."""
    last: list[tuple[Tensor, Tensor]] = []

    def see(call: Call) -> None:
        last[:] = [(call.input.detach().clone(), call.output)]

    linear = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    with watching(model, linear, see):
        output = model(x)
    logits = check_logits(output, len(x)).float()
    if not torch.isfinite(logits).all():
        raise ValueError("the model's logits hold NaN or infinite values")
    if last and last[0][1].shape == output.shape and torch.equal(last[0][1], output):
        return logits, last[0][0].float().flatten(1)
    return logits, logits


def projection(features: Tensor) -> Tensor | None:
    """A matrix (d, 512) that nearly keeps the distances, where d is larger."""
    d = features.shape[1]
    if d <= MOST_FEATURES:
        return None
    generator = torch.Generator().manual_seed(0)
    matrix = (
        torch.randn(d, MOST_FEATURES, generator=generator, device="cpu")
        / MOST_FEATURES**0.5
    )
    return matrix.to(features.device)


def statistics(inputs: Tensor) -> Tensor:
    """Five numbers a sample, (B, ...) -> (B, 5): the share of values at the sample's
    own bounds; logarithms of the mean step between neighbours on the last axis, of the
    standard deviation, and of the largest distance from the mean; the mean.

    >>> statistics(torch.tensor([[0.0, 1.0, 0.0, 1.0]]))[0, 0]
    tensor(1.)
    """
    flat = inputs.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    bounds = ((flat == low) | (flat == high)).float().mean(1)
    steps = inputs.diff(dim=-1).abs().flatten(1)
    rough = steps.mean(1) if steps.shape[1] else torch.zeros_like(bounds)
    spread = flat.std(1, correction=0)
    mean = flat.mean(1)
    extreme = (flat - mean[:, None]).abs().amax(1)
    logs = [(x + 1e-3).log() for x in (rough, spread, extreme)]
    return torch.stack([bounds, *logs, mean], 1)


@dataclass(frozen=True)
class BadInputs:
    """P(bad input) of each sample, (N,), and the statistic that tells; None: none."""

    probability: Tensor
    statistic: str | None = None


def bad_inputs(seen: Seen, reference: Tensor, right: Tensor) -> BadInputs:
    """Samples whose inputs are unlike the others' and which are less well predicted.

    Every statistic is split in two by a mixture of Gaussians. The split is believed
    only where its groups stand far apart and one is surely less well predicted: by
    ``reference`` (N,), the probability of the given label, and by ``right`` (N,),
    whether it is the likeliest. That one is no large majority, and found in all classes
    alike: classes form groups, too.
    """
    n = len(reference)
    best, found = 0.0, BadInputs(torch.zeros(n, device="cpu"))
    for i, name in enumerate(STATISTICS):
        values = seen.statistics[:, i].double()
        if n < FEWEST_INPUTS or values.std(correction=0) < 1e-6:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what it warns of is decided here
                parts = partition(values, rule="loss", start="best", quality=reference)
        except ValueError:  # nobody on one side
            continue
        bad, apart = parts.low_quality, parts.diagnostics["separation"]
        share = bad.float().mean().item()
        if not SMALLEST_GROUP <= share <= LARGEST_GROUP or apart < APART:
            continue
        if by_class(bad, seen.labels) > CLASSES:
            continue
        if bad.sum() < 2 or (~bad).sum() < 2:
            continue
        surely = below(reference, bad)
        if surely > max(WORSE, best) and below(right.float(), bad) > WRONG_MORE_OFTEN:
            best, found = surely, BadInputs(1 - parts.posterior.float(), name)
    return found


def below(values: Tensor, bad: Tensor) -> float:
    """By how many standard errors ``values`` (N,) are lower, in the mean, where bad."""
    good, poor = values[~bad], values[bad]
    error = (good.var() / len(good) + poor.var() / len(poor)).sqrt()
    return float((good.mean() - poor.mean()) / error.clamp(min=1e-9))


def paired(differences: Tensor) -> float:
    """By how many standard errors the mean of differences (M,) is above 0; where all
    are the same, as many as if their spread were their size.

    >>> paired(torch.tensor([1.0, 0.0, 1.0, 0.0]))
    1.7320508075688774
    """
    d = differences.double()
    if len(d) < 2:
        return 0.0
    spread = d.std()
    spread = spread if spread > 0 else d.mean().abs()
    return float(d.mean() / spread * len(d) ** 0.5) if spread > 0 else 0.0


def by_class(bad: Tensor, labels: Tensor) -> float:
    """Share of the variance of ``bad`` (N,) that the labels (N,) explain, in [0, 1].

    >>> by_class(torch.tensor([True, True, False, False]), torch.tensor([0, 0, 1, 1]))
    1.0
    """
    counts = labels.bincount().float()
    shares = labels.bincount(bad.float()) / counts.clamp(min=1)
    overall = bad.float().mean()
    between = (counts * (shares - overall).square()).sum() / len(labels)
    return float(between / (overall * (1 - overall)).clamp(min=1e-9))
