"""No stage on scores (N, d) makes a second array of that size."""

from __future__ import annotations

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import rlap

N, D = 80_000, 32  # ten times what is read at once


def largest_allocation(call) -> int:
    """Bytes of the largest tensor that is made on the way."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        call()
    return max(event.self_cpu_memory_usage for event in seen.events())


@pytest.fixture(scope="module")
def scores():
    generator = torch.Generator().manual_seed(0)
    found = torch.randn(N, D, generator=generator)
    found[: N // 2] += 3
    return found


def test_what_is_measured(scores):
    whole = scores.numel() * scores.element_size()
    assert largest_allocation(lambda: scores + 1) == pytest.approx(whole, rel=1e-3)


@pytest.mark.parametrize("start", ["kmeans", "total"])
def test_the_partition_copies_no_scores(scores, start):
    made = largest_allocation(lambda: rlap.partition(scores, start=start, max_iter=2))
    assert made < scores.numel() * scores.element_size() / 2


@pytest.mark.parametrize("criterion", ["regression", "abs", "rms", "freq", "std"])
def test_the_sensitivity_copies_no_activations(scores, criterion):
    low = torch.arange(N) < N // 2
    made = largest_allocation(
        lambda: rlap.sensitivity(scores, low, criterion=criterion)
    )
    assert made < scores.numel() * scores.element_size() / 1.5
