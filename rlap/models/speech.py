"""Networks for keywords, MFCCs (B, 1, 40, frames) in; ``rlap.models`` builds them.

Both end in ``fc`` (to 128 units, the paper's target layer for speech), ReLU, ``fc2``.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, fx, nn

from rlap.data.speech.mfcc import COEFFICIENTS


class SpeechCNN(nn.Module):
    """The paper's network: one convolution, pooled to 2x2, fc 256->128, fc2 ->C.

    34,954 parameters with ten classes. With 130 frames the second column of the 2x2
    is all padding, and the first more than half (difference 39).

    Args:
        num_classes: C.
        in_channels: of the inputs (B, in_channels, 40, frames).
        hidden: units of ``fc``.

    Source: paper, Table 6; the released speech notebook.

    >>> SpeechCNN(10)(torch.zeros(2, 1, 40, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, num_classes: int = 10, *, in_channels: int = 1, hidden: int = 128
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 64, 3, padding=1)
        self.bn = nn.BatchNorm2d(64)
        self.fc = nn.Linear(64 * 2 * 2, hidden)
        self.fc2 = nn.Linear(hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn(self.conv(x))), 2)
        h = F.adaptive_avg_pool2d(x, 2).flatten(1)  # (B, 256)
        return self.fc2(F.relu(self.fc(h)))


@fx.wrap  # torch.fx is not to look inside: it knows no shapes
def check_mfccs(x: Tensor) -> None:
    """Raise ``ValueError`` for what is not (B, channels, 40, frames)."""
    if x.ndim != 4 or x.shape[2] != COEFFICIENTS:
        raise ValueError(
            f"this network wants MFCCs (B, channels, {COEFFICIENTS}, frames), not "
            f"{tuple(x.shape)}"
        )


class ResidualPair(nn.Module):
    """Convolution, ReLU, BatchNorm, twice, and a shortcut around both."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width, affine=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn1(F.relu(self.conv1(x)))
        return self.bn2(F.relu(self.conv2(out)) + x)


class SpeechRes8(nn.Module):
    """A small residual network for keyword spotting, after res8.

    A convolution, average pooling, three residual pairs of 45 channels, global
    average pooling; about 0.12 M parameters. Where it departs from the source: each
    coefficient is standardised over batch and time (its inputs are raw MFCCs, of
    which the first dwarfs the others), the pooling is 4 coefficients by 2
    frames (a frame here is 32 ms, there 10), and the head is the paper's kind.

    Args:
        num_classes: C.
        in_channels: of the inputs (B, in_channels, 40, frames).
        width: channels.
        hidden: units of ``fc``.

    Source: Tang and Lin, "Deep residual learning for small-footprint keyword
    spotting", ICASSP 2018 (arXiv 1710.10361).

    >>> SpeechRes8(10)(torch.zeros(2, 1, 40, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        in_channels: int = 1,
        width: int = 45,
        hidden: int = 128,
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(in_channels * COEFFICIENTS)
        self.conv = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.pool = nn.AvgPool2d((4, 2))
        self.pairs = nn.Sequential(*(ResidualPair(width) for _ in range(3)))
        self.fc = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        check_mfccs(x)
        # (B, channels * 40, frames): one mean and variance a coefficient
        x = self.norm(x.flatten(1, 2)).reshape(x.shape)
        x = self.pairs(self.pool(F.relu(self.conv(x))))
        h = x.mean(dim=(2, 3))  # (B, width)
        return self.fc2(F.relu(self.fc(h)))
