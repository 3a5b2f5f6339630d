"""Where the fit of a mixture begins: each sample assigned to a component."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rlap.mixture.samples import Samples

LLOYD_STEPS, LLOYD_TOLERANCE = 300, 1e-4  # scikit-learn's KMeans


def kmeans(
    data: Samples,
    k: int,
    random: np.random.RandomState,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Cluster the samples by k-means: the number of each one's cluster, (N,).

    Greedy k-means++, then Lloyd's steps until no sample changes its cluster or the
    centres hardly move. Draws what scikit-learn's ``KMeans(k, n_init=1)`` draws.
    ``dtype``: of the distances. Source: Arthur and Vassilvitskii 2007; Lloyd 1982.
    """
    centres, labels = plus_plus(data, k, random, dtype), None
    for _ in range(LLOYD_STEPS):
        before, (labels, moved) = labels, lloyd(data, centres, dtype)
        if before is not None and torch.equal(labels, before):
            return labels
        shift, centres = (moved - centres).square().sum(), moved
        if float(shift) <= LLOYD_TOLERANCE:
            break
    return lloyd(data, centres, dtype)[0]


def lloyd(data: Samples, centres: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The nearest of the centres (k, d) for every sample, (N,), and the means of these
    clusters (k, d); an empty one stays where it was."""
    offsets, to = centres.square().sum(1).to(dtype) / 2, centres.to(dtype).T
    labels, sums = [], torch.zeros_like(centres)
    for _, x in data.chunks(dtype):
        labels.append((x @ to - offsets).argmax(1))
        sums += F.one_hot(labels[-1], len(centres)).to(dtype).T @ x
    labels = torch.cat(labels)
    counts = labels.bincount(minlength=len(centres))[:, None]
    return labels, torch.where(counts > 0, sums / counts, centres)


def plus_plus(
    data: Samples, k: int, random: np.random.RandomState, dtype: torch.dtype
) -> Tensor:
    """The first centres (k, d): each the best of a few samples, drawn with chances
    proportional to the squared distance to the nearest centre so far."""
    n = len(data.values)
    drawn = [int(random.choice(n, p=np.full(n, 1 / n)))]
    left = square_distances(data, drawn, dtype)[:, 0]  # to the nearest centre, (N,)
    for _ in range(1, k):
        tries = random.uniform(size=2 + int(math.log(k))) * float(left.sum())
        ends = torch.from_numpy(tries).to(left.device)
        tried = torch.searchsorted(left.cumsum(0), ends).clamp_(max=n - 1).tolist()
        distances = square_distances(data, tried, dtype)
        after = torch.minimum(left[:, None], distances)
        best = int(after.sum(0).argmin())
        left = after[:, best]
        drawn.append(tried[best])
    return data.rows(torch.tensor(drawn, device="cpu"), torch.float64)


def square_distances(data: Samples, index: list[int], dtype: torch.dtype) -> Tensor:
    """From every sample to the samples ``index``: (N, len(index)) in float64."""
    points = data.rows(torch.tensor(index, device="cpu"), dtype)
    found = data.centre.new_empty(len(data.values), len(index))
    for rows, x in data.chunks(dtype):
        for column, point in enumerate(points):
            found[rows, column] = torch.linalg.vector_norm(x - point, dim=1).double()
    return found.square_()


def halves(total: Tensor, seed: int) -> Tensor:
    """0 or 1 for the lower and the higher half by ``total`` (N,). Which of them is 0 is
    drawn by ``seed``: as from k-means, a component's number says nothing."""
    higher = int(np.random.default_rng(seed % 2**32).random() >= 0.5)
    labels = torch.full_like(total, higher, dtype=torch.long)
    labels[total.argsort(stable=True)[: len(total) // 2]] = 1 - higher
    return labels
