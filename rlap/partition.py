"""Stage 2: split the training set into a high-quality and a low-quality part.

Each rule turns scores into a posterior of being good. "gmm" clusters (N, d)
attributions as the paper does; the others take one number a sample from
``sample_scores`` and are the detectors that a method of this kind has to beat.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from rlap.checks import (
    as_indices,
    check_count,
    check_inputs,
    check_labels,
    check_one_of,
    check_rate,
    check_seed,
    check_tensor,
)
from rlap.mixture import BEST, STARTS, Mixture, Samples, fit, standardise
from rlap.network.layers import check_logits
from rlap.network.precision import own_precision
from rlap.wording import in_brief

# score a rule reads -> whether a larger value means a better sample
ONE_DIMENSIONAL = {"loss": False, "margin": True, "confidence": True}
RULES = ("gmm", *ONE_DIMENSIONAL, "trivial")
OWN = "score"  # a rule for any number a sample, larger is better
SMALLEST_SHARE = 0.02  # a cluster below this share of the samples is degenerate
# Ashman's D above which two groups are believed; 4 sigma apart gives 4.0. See
# ``believed_above``: in many dimensions a fit to one group is cut sharply, too.
BIMODAL = 2.5
FEWEST = 50  # samples below which no two groups are believed
# Difference in mean quality, in standard deviations, below which naming the good
# cluster is a guess: of 169 runs of the ledger 13 lie below, and the one of them that
# had found the noise kept the wrong part; above, all 94 that had kept the right one.
NAMED_ABOVE = 0.2


class DegeneratePartitionWarning(UserWarning):
    """The split is too lopsided or too blurred to be trusted.

    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = rlap.partition(torch.randn(60, generator=generator), rule="loss")
    >>> caught[0].category.__name__
    'DegeneratePartitionWarning'
    """


@dataclass(frozen=True)
class Partition:
    """A split of N samples: ``high_quality`` (N,) bool and ``posterior`` (N,) of being
    good, in [0, 1]; ``diagnostics`` says how far to trust it.

    Diagnostics: rule; high_quality and low_quality (counts); converged; iterations;
    component (of the mixture, 0 or 1, that is the good one); separation (Ashman's D
    along the line between the clusters); believed_above (a separation that one group
    of so many samples and units does not reach, None if they are too few to tell);
    bimodal (whether it is above: then there are two groups, of whatever kind: classes
    form groups, too); start (of the fit); log_likelihood (of the mixture, mean over
    samples: of two starts the higher fits better); dropped_units (constant ones);
    named_by (what named the good cluster); margin_of_naming (difference of the
    clusters' mean quality, in standard deviations); warnings.

    >>> scores = torch.cat([torch.zeros(50), torch.ones(30)])
    >>> parts = rlap.partition(scores + 0.1 * scores.sin(), rule="loss")
    >>> int(parts.high_quality.sum()), parts.diagnostics["bimodal"]
    (50, True)
    """

    high_quality: Tensor
    posterior: Tensor
    diagnostics: dict[str, object] = field(default_factory=dict)

    __repr__ = in_brief

    @property
    def low_quality(self) -> Tensor:
        """The complement of ``high_quality``, (N,) bool."""
        return ~self.high_quality

    def swapped(self, named_by: str) -> Partition:
        """The same split with the other part as the good one, as ``named_by`` wants."""
        about = self.diagnostics
        new = about | {"named_by": named_by}
        new |= {"high_quality": about["low_quality"]}
        new |= {"low_quality": about["high_quality"]}
        if "component" in about:
            new["component"] = 1 - about["component"]
        return Partition(~self.high_quality, 1 - self.posterior, new)


def sample_scores(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Per-sample scores from logits (N, C) and given labels (N,), each (N,).

    "loss": cross-entropy (higher is worse); "margin": logit of the given label minus
    the best other (lower is worse); "confidence": largest softmax probability, which
    never looks at the label (lower is worse).

    >>> scores = rlap.sample_scores(rlap.predict(model, data.inputs), data.labels)
    >>> {name: tuple(score.shape) for name, score in scores.items()}
    {'loss': (120,), 'margin': (120,), 'confidence': (120,)}
    """
    logits = check_logits(logits)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    labels = check_labels(labels, len(logits), logits.shape[1]).to(logits.device)
    given = logits.gather(1, labels[:, None]).squeeze(1)
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    return {
        "loss": F.cross_entropy(logits, labels, reduction="none"),
        "margin": given - others,
        "confidence": logits.softmax(1).amax(1),
    }


def share_at_bounds(inputs: Tensor) -> Tensor:
    """Share of each sample's values that are exactly 0 or 1: (N, ...) -> (N,).

    The trivial detector: noise clamped to [0, 1] after normalisation leaves most pixels
    there, while a normalised clean pixel practically never is, as in the
    released code (no. 6 of the book's differences).

    >>> rlap.share_at_bounds(torch.tensor([[0.0, 1.0, 0.3, 0.6]]))
    tensor([0.5000])
    """
    flat = check_inputs(inputs).flatten(1)
    return ((flat == 0) | (flat == 1)).float().mean(1)


def partition(
    scores: Tensor,
    *,
    rule: str = "gmm",
    quality: Tensor | None = None,
    seed: int = 0,
    covariance_type: str = "full",
    n_init: int = 1,
    max_iter: int = 300,
    start: str = "kmeans",
    threshold: float = 0.5,
    solver: str = "torch",
) -> Partition:
    """Split samples in two by their scores.

    Args:
        scores: (N, d) attributions for "gmm"; (N,) for "loss", "margin", "confidence"
            (see ``sample_scores``), "trivial" (``share_at_bounds``) and "score", any
            number of one's own of which more is better.
        rule: "gmm" fits a mixture of two Gaussians to the standardised units; the
            one-dimensional rules fit one to their score, cut so that a better score
            never means a lower posterior; "trivial" thresholds, without a mixture.
        quality: (N,), larger is better; only names the good cluster, by its mean.
            Never needs labels: confidence is a good choice. None uses the total
            attribution for "gmm" and the score's own direction for the others;
            "trivial" has no cluster to be named.
        seed, covariance_type, n_init, max_iter: of the mixture's fit, as in
            scikit-learn's GaussianMixture.
        start: where the fit begins: "kmeans", scikit-learn's own start, which the
            released code uses; or "total", the halves of lower and higher total score.
            A fit ends at a maximum of the likelihood near its start. From k-means that
            may be a split of the classes although a split of the noise fits better.
            "best" tries both and keeps the fit of the higher likelihood; it is the
            default of ``robustify``, "kmeans", the paper's, is the one here. ``n_init``
            is of "kmeans" alone.
        threshold: posterior above which a sample counts as high quality.
        solver: "torch" fits the mixture on the device of the scores; "sklearn" is the
            reference, on the CPU, and several times slower (``rlap.mixture``).

    Warns ``DegeneratePartitionWarning`` when the split is lopsided, no clearer than one
    group's would be, made from too few samples to tell, or named by a hair; raises
    ``ValueError`` for unusable scores or when one side is empty. Source: paper section
    3.2.2.

    >>> scores = rlap.attribute(model, data.inputs, layer="fc")
    >>> parts = rlap.partition(scores, rule="gmm", start="best")
    >>> parts.high_quality.shape, parts.posterior.min() >= 0
    (torch.Size([120]), tensor(True))
    """
    check_one_of(rule, (*RULES, OWN), "rule")
    seed = check_seed(seed)
    x = _check_scores(scores, rule)
    check_rate(threshold, "threshold")
    check_one_of(start, (*STARTS, BEST), "start")
    check_count(n_init, "n_init")
    check_count(max_iter, "max_iter")
    value = check_quality(quality, len(x))
    if rule == "trivial":
        if x.min() < 0 or x.max() > 1:
            raise ValueError("rule 'trivial' needs shares in [0, 1]: share_at_bounds")
        posterior = 1.0 - x[:, 0].double()
        diagnostics: dict[str, object] = {"named_by": "share of values at the bounds"}
    else:
        data = standardise(x)
        _warn_if_too_few(data)
        options = {"covariance_type": covariance_type, "n_init": n_init}
        options |= {"max_iter": max_iter, "seed": seed, "solver": solver}
        start, mixture = _fit(data, start, options)
        posterior, diagnostics = _good_component(data, mixture, rule, value)
        diagnostics["start"] = start
    high = posterior > threshold
    if high.all() or not high.any():
        side = "low" if high.all() else "high"
        raise ValueError(
            f"rule {rule!r} puts none of {len(x)} samples into the {side}-quality "
            "part: the scores show no second group; try another rule or layer"
        )
    diagnostics |= {"rule": rule, "high_quality": int(high.sum())}
    diagnostics["low_quality"] = int((~high).sum())
    _warn_if_degenerate(diagnostics)
    device = scores.device
    return Partition(high.to(device), posterior.float().to(device), diagnostics)


def _check_scores(scores: Tensor, rule: str) -> Tensor:
    """Scores as floating-point (N, d), or a clear error."""
    wanted = 2 if rule == "gmm" else 1
    if not isinstance(scores, Tensor) or scores.dim() != wanted:
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores)
        shapes = {1: "(N,), one score a sample", 2: "(N, d)"}
        raise ValueError(f"rule {rule!r} needs scores {shapes[wanted]}, not {shape}")
    if len(scores) < 4:
        raise ValueError(f"{len(scores)} samples cannot be split by two components")
    if check_tensor(scores, "scores").is_complex() or not scores.numel():
        told = f"{scores.dtype} of shape {tuple(scores.shape)}"
        raise ValueError(f"scores must be real numbers, one or more a sample: {told}")
    x = scores.detach().reshape(len(scores), -1)
    if x.device.type not in ("cpu", "cuda"):  # others may have no float64
        x = x.cpu()
    x = x if x.is_floating_point() else x.double()
    if rule == "trivial" and not x.isfinite().all():
        raise ValueError("scores hold NaN or infinite values")
    return x


def check_quality(quality: Tensor | None, n: int) -> Tensor | None:
    """``quality`` as float64 (n,), finite, or a ``ValueError``; None stays None."""
    if quality is None:
        return None
    value = as_indices(quality).detach().cpu().double()
    if value.shape != (n,) or not value.isfinite().all():
        raise ValueError(f"quality must be ({n},) and finite")
    return value


@own_precision()
def _fit(data: Samples, start: str, options: dict) -> tuple[str, Mixture]:
    """The start of the fit of the highest likelihood, and the fit."""
    total = data.total()
    starts = STARTS if start == BEST else (start,)
    fits = {name: fit(data, start=name, total=total, **options) for name in starts}
    best = max(fits, key=lambda name: fits[name].log_likelihood)
    return best, fits[best]


@own_precision()
def _good_component(
    data: Samples, mixture: Mixture, rule: str, quality: Tensor | None
) -> tuple[Tensor, dict[str, object]]:
    """Posterior of the good component (N,), and what there is to say about the fit."""
    cut = data if rule == "gmm" else _monotone(data, mixture)
    posterior = mixture.posterior(cut)
    if quality is not None:
        value, named_by = quality.to(posterior.device), "quality"
    else:
        value = data.total()
        named_by = "total attribution" if rule == "gmm" else f"direction of {rule}"
        value = value if ONE_DIMENSIONAL.get(rule, True) else -value
    means = posterior.T @ value / posterior.sum(0).clamp(min=1e-12)
    good = int(means.argmax())
    spread = float(value.std(correction=0)) or 1.0
    return posterior[:, good], {
        "converged": mixture.converged,
        "iterations": mixture.iterations,
        "component": good,
        "separation": _separation(data, posterior, mixture.dtype),
        "believed_above": believed_above(*data.shape),
        "log_likelihood": mixture.log_likelihood,
        "dropped_units": data.values.shape[1] - data.shape[1],
        "named_by": named_by,
        "margin_of_naming": float((means[0] - means[1]).abs()) / spread,
    }


def _monotone(data: Samples, mixture: Mixture) -> Samples:
    """Scores (N, 1) cut where the posterior of a 1-D mixture would turn back.

    Two variances differ, so that far out on *both* sides the wider component wins: the
    very best samples would count among the bad. The turn is where the log-odds, a
    parabola, have their vertex, beyond the mean of the narrower component.
    """
    means = mixture.means[:, 0]
    # every covariance type gives the same numbers in one dimension
    precision = 1 / mixture.covariances.flatten()
    if precision[0] == precision[1] or means[0] == means[1]:
        return data
    vertex = (precision * means).diff() / precision.diff()
    narrow = int(precision.argmax())
    turn = float(vertex * data.spread + data.centre)
    above = means[narrow] > means[1 - narrow]
    cut = {"max": turn} if above else {"min": turn}
    return replace(data, values=data.values.clamp(**cut))


def _separation(data: Samples, posterior: Tensor, dtype: torch.dtype) -> float:
    """Ashman's D of the two components on the line between their means.

    posterior (N, 2). Moments are weighted by the posterior: cut sharply, even a single
    Gaussian would look like two (D = 2.7).
    """
    weight = posterior.sum(0).clamp(min=1e-12)
    chunks = data.chunks(dtype)
    sums = sum(posterior[rows].T.to(dtype) @ x for rows, x in chunks)
    means = sums / weight[:, None].to(dtype)  # (2, d)
    line = means[0] - means[1]
    projected = torch.cat([x @ line for _, x in data.chunks(dtype)]).double()
    centre = posterior.T @ projected / weight
    variance = (posterior * (projected[:, None] - centre).square()).sum(0) / weight
    if variance.sum() == 0:
        return float("inf") if centre[0] != centre[1] else 0.0
    return float(math.sqrt(2) * (centre[0] - centre[1]).abs() / variance.sum().sqrt())


def believed_above(n: int, d: int) -> float | None:
    """The separation above which two groups of ``n`` samples, ``d`` units are believed;
    None where there are too few samples to tell.

    A mixture of two, fitted to a single Gaussian or rectified group, reached up to 2.2
    in one dimension. In many, the fewer samples there are for each unit, the sharper
    it cuts: with 256 units up to 2.6 at 49 samples a unit, 2.9 at 23, 3.3 at 8, 4.1 at
    2 (all measured; ``benchmarks/one_group.py``).
    """
    if n < FEWEST or n < 4 * d:
        return None
    return BIMODAL + (12 * max(d, 8) / n if d > 1 else 0.0)


def _warn_if_too_few(data: Samples) -> None:
    """Warn, before a fit, where no two groups could be believed after it."""
    if believed_above(*data.shape) is None:
        warnings.warn(too_few(len(data.values)), DegeneratePartitionWarning, 3)


def too_few(samples: int) -> str:
    """What is said of a partition of that many samples."""
    return f"{samples} samples are too few to tell two groups from one"


def _warn_if_degenerate(diagnostics: dict[str, object]) -> None:
    """Add "bimodal" and "warnings" to the diagnostics, and warn of what is new."""
    sizes = (diagnostics["high_quality"], diagnostics["low_quality"])
    separation = diagnostics.get("separation")
    needed = diagnostics.get("believed_above")
    believable = separation is None or needed is not None
    diagnostics["bimodal"] = separation is None or (believable and separation > needed)
    found = []
    if min(sizes) < max(2, SMALLEST_SHARE * sum(sizes)):
        found.append(f"degenerate split: {sizes[0]} high and {sizes[1]} low quality")
    if believable and not diagnostics["bimodal"]:
        found.append(
            f"the two groups overlap (Ashman's D {separation:.2f}, "
            f"believed to be two above {needed:.2f})"
        )
    margin = diagnostics.get("margin_of_naming", NAMED_ABOVE)
    if margin < NAMED_ABOVE:
        found.append(
            f"the two groups differ by {margin:.2f} standard deviations in what names "
            "the good one: which of them that is, is a guess"
        )
    if diagnostics.get("converged") is False:
        found.append("the mixture did not converge")
    said = [] if believable else [too_few(sum(sizes))]  # before the fit
    diagnostics["warnings"] = said + found
    for message in found:
        warnings.warn(message, DegeneratePartitionWarning, stacklevel=3)
