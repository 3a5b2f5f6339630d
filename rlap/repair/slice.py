"""How networks are compared on a slice that was held out, as bad as the rest.

By labels that were drawn from the true class by T, T[c, j] = P(given j | true c), the
number 1[predicted = true] cannot be seen, but its mean can: that of inv(T)[given,
predicted], which has the same expectation for every class. It favours no network.

T is an estimate. Where classes are taken for one another so often that it can hardly be
inverted, a small error of it would make any number of the rest, so there it is moved
towards the identity: the labels count a little more than they should. In trials apart
from those reported (seeds 100 and 101, three kinds of wrong labels, a narrow ResNet; 36
networks, 2,500 held-out samples) what a network gained came out as 1.08 times the truth
in the median, eight of ten between .9 and 1.34. Samples that count as far as their
label seems right told .43 of it.

Source: unbiased estimates by noisy labels are Natarajan et al. (NeurIPS 2013); with the
inverse of T, Patrini et al. (CVPR 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rlap.data.base import Split
from rlap.training.inference import predict

INVERTIBLE = 0.3  # smallest singular value of a matrix whose inverse is used; as good
# were .2 and .4
STEPS = 100  # towards the identity


class Right(NamedTuple):
    """What a network gets right of a slice: ``labelled`` (M,), 0 or 1, whether a sample
    is classified as it is labelled; ``true`` (M,), whose mean over the slice is the
    share of its good samples that are classified truly, as far as labels tell."""

    labelled: Tensor
    true: Tensor

    @property
    def accuracy(self) -> float:
        """By the true classes: an estimate, which need not be in [0, 1]."""
        return float(self.true.mean())


@dataclass(frozen=True)
class Slice:
    """Held-out samples, which of them have ``good`` inputs (M,), and the ``inverse``
    (C, C) of how labels are drawn from classes.

    >>> good = torch.ones(len(data), dtype=torch.bool)
    >>> held = Slice(data, good, undone(torch.eye(data.num_classes)))
    >>> abs(held.right(model).accuracy - rlap.training.accuracy(model, data)) < 1e-6
    True
    """

    data: Split
    good: Tensor
    inverse: Tensor

    def right(self, network: nn.Module) -> Right:
        """What ``network`` gets right."""
        return self.of_predicted(predict(network, self.data.inputs).argmax(1).cpu())

    def of_predicted(self, predicted: Tensor) -> Right:
        """What is right of classes ``predicted`` (M,). What becomes of bad inputs is no
        matter."""
        labels, good = self.data.labels.cpu(), self.good.float()
        each = self.inverse[labels, predicted] * good
        return Right((predicted == labels).float(), each / good.mean().clamp(min=1e-9))


def undone(matrix: Tensor) -> Tensor:
    """The inverse of ``matrix`` (C, C), P(given | true), or of the nearest between it
    and the identity that can well be inverted.

    >>> undone(torch.tensor([[0.75, 0.25], [0.25, 0.75]]))
    tensor([[ 1.5000, -0.5000],
            [-0.5000,  1.5000]])
    """
    matrix = matrix.double()
    eye = torch.eye(len(matrix), dtype=matrix.dtype, device="cpu")
    nearest = (
        mixed
        for step in range(STEPS + 1)
        if torch.linalg.svdvals(mixed := matrix.lerp(eye, step / STEPS)).min()
        >= INVERTIBLE
    )
    return torch.linalg.inv(next(nearest)).float()
