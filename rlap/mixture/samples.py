"""Samples that are read in chunks, so that no copy of them is ever made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Samples:
    """Samples (N, d), and what brings each unit that varies to mean 0 and variance 1.

    ``values`` (N, d) as given; ``units`` (kept,): the indices of those that vary;
    ``centre``, ``spread`` (kept,): their mean and standard deviation, in float64.
    """

    values: Tensor
    units: Tensor
    centre: Tensor
    spread: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Samples, and units that vary."""
        return len(self.values), len(self.units)

    def rows(self, index: Tensor | slice, dtype: torch.dtype) -> Tensor:
        """Some of the samples, standardised: (B, kept)."""
        rows = self.values[index]
        if len(self.units) < rows.shape[1]:
            rows = rows.index_select(1, self.units)
        wide = torch.promote_types(rows.dtype, dtype)
        centre, scale = self.centre.to(wide), (1 / self.spread).to(wide)
        return (rows.to(wide) - centre).mul_(scale).to(dtype)

    def chunks(self, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
        """Slices of rows with their standardised values (B, kept)."""
        return ((rows, self.rows(rows, dtype)) for rows in slices(self.values))

    def total(self) -> Tensor:
        """The sum of each sample's values as given, (N,) in float64."""
        found = self.centre.new_empty(len(self.values))
        for rows in slices(self.values):  # at once, torch would copy all in float64
            found[rows] = self.values[rows].sum(1, dtype=torch.float64)
        return found

    def means(self, standardised: Tensor) -> Tensor:
        """Means (k, kept) in the units' own scale, (k, d); 0 where one is constant."""
        return self.over_all(standardised * self.spread + self.centre)

    def over_all(self, kept: Tensor) -> Tensor:
        """(k, kept) or (k, kept, kept) with zeros for the units that do not vary."""
        k, *sizes = kept.shape
        index = (self.units,) if len(sizes) == 1 else (self.units[:, None], self.units)
        whole = kept.new_zeros(k, *(self.values.shape[1] for _ in sizes))
        whole[:, *index] = kept
        return whole


def slices(values: Tensor) -> list[slice]:
    """The rows of (N, d) in slices that fit a CPU's cache, or keep a GPU busy."""
    fewest, elements = (1024, 2**18) if values.device.type == "cpu" else (8192, 2**22)
    step = max(fewest, elements // values.shape[1])
    return [slice(i, i + step) for i in range(0, len(values), step)]


def standardise(values: Tensor) -> Samples:
    """Find the mean and the spread of each unit of ``values`` (N, d), in float64.

    Raises ``ValueError`` for NaN or infinite values, and where no unit varies.
    """
    chunks = [values[rows] for rows in slices(values)]  # views
    low = torch.stack([c.amin(0) for c in chunks]).amin(0).double()
    high = torch.stack([c.amax(0) for c in chunks]).amax(0).double()
    if not bool((low.isfinite() & high.isfinite()).all()):
        raise ValueError("scores hold NaN or infinite values")
    # relative: the rounding of a large constant is no variation
    varies = high - low > 1e-9 * torch.maximum(low.abs(), high.abs())
    units = varies.nonzero()[:, 0]
    if not len(units):
        raise ValueError("every score is constant: there is nothing to split")
    n = len(values)
    centre = sum(c.sum(0, dtype=torch.float64) for c in chunks)[units] / n
    square = sum((c[:, units] - centre).square_().sum(0) for c in chunks)
    return Samples(values, units, centre, (square / n).sqrt())
