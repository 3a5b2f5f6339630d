"""Inputs that stay as they are stored, and are read a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor


class Stored:
    """Inputs (N, ...) that stand where a float32 tensor of them would.

    A slice or rows of it are read when they are asked for, and ``subset`` and ``to``
    copy none; so data may be larger than memory.

    Args:
        read: rows, a slice or (n,) int64 on the CPU -> their inputs (n, ...) float32.
        shape: (N, ...) of all of them.
        device: where what is read is put.
        rows: (M,) int64 on the CPU, the rows that these are; None: all, in order.

    >>> inputs = Stored(lambda rows: torch.arange(6.0).view(3, 2)[rows], (3, 2))
    >>> inputs[1], inputs.subset(torch.tensor([2, 0])).shape
    (tensor([2., 3.]), torch.Size([2, 2]))
    """

    dtype = torch.float32

    def __init__(
        self,
        read: Callable[[Tensor | slice], Tensor],
        shape: tuple[int, ...],
        device: torch.device | str = "cpu",
        rows: Tensor | None = None,
    ) -> None:
        self.read, self.rows, self.device = read, rows, torch.device(device)
        self.shape = torch.Size(shape)

    def __len__(self) -> int:
        return self.shape[0]

    def dim(self) -> int:
        """As of a tensor."""
        return len(self.shape)

    def __getitem__(self, which: Any) -> Tensor:
        """The inputs (n, ...) of a slice, of rows (n,) or a mask (N,); of a number that
        one (...)."""
        if isinstance(which, int):
            return self[torch.tensor([which], device="cpu")][0]
        return self.read(self.rows_of(which)).to(self.device)

    def split(self, size: int) -> Iterator[Tensor]:
        """All inputs in order, ``size`` at a time."""
        for start in range(0, len(self), size):
            yield self[start : min(start + size, len(self))]

    def subset(self, which: Tensor) -> Stored:
        """Those of rows (n,), which are read when they are asked for."""
        rows = self.rows_of(which)
        shape = (len(rows), *self.shape[1:])
        return Stored(self.read, shape, self.device, rows)

    def to(self, device: torch.device | str) -> Stored:
        """The same, put on another device when they are read."""
        return Stored(self.read, self.shape, device, self.rows)

    def rows_of(self, which: Any) -> Tensor | slice:
        """Where what is asked for is stored."""
        if not isinstance(which, slice):
            which = torch.as_tensor(which).cpu()
            if which.dtype == torch.bool:
                which = which.nonzero().squeeze(1)
        return which if self.rows is None else self.rows[which]
