"""Networks for images. Every one ends in ``fc``, ReLU, ``fc2`` (to classes).

``fc`` is the paper's target layer: its pre-activations (256 of them, for speech
128) are attributed, regressed and pruned. Other code finds it by that name and never
by these classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WHITENING = 5000  # images that a whitening layer is computed from, at most


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al., 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet18(nn.Module):
    """The paper's ResNet-18: 3x3 stem without max-pool, fc 512->256, ReLU, fc2 ->C.

    Args:
        num_classes: C.
        width: channels of the first stage (64 in the paper, 11.3 M parameters; the
            others are 2, 4 and 8 times as wide). A narrow net has the same head.
        in_channels: channels of the images (B, in_channels, H, W).
        hidden: units of ``fc``.

    Source: the released code's model.

    >>> ResNet18(10, width=8)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        width: int = 64,
        in_channels: int = 3,
        hidden: int = 256,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        blocks, channels = [], width
        for stage, stride in enumerate((1, 2, 2, 2)):
            outputs = width * 2**stage
            blocks += [
                BasicBlock(channels, outputs, stride),
                BasicBlock(outputs, outputs, 1),
            ]
            channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.bn1(self.conv1(x))))
        h = x.mean(dim=(2, 3))  # (B, 8 * width)
        return self.fc2(F.relu(self.fc(h)))


class SmallNet(nn.Module):
    """A small fast net for CPUs in the manner of airbench (Jordan, 2024).

    A first layer that whitens patches of 2x2 and halves the image, then three groups of
    convolution, pooling, BatchNorm and ReLU, global average pooling, and the paper's
    kind of head. About 0.24 M parameters at the default widths. (Airbench keeps the
    size in the first layer, which on a CPU learns less in the same time, and pools by
    the maximum, which leaves half of the units of ``fc`` dead after training on few
    images.)

    Args:
        num_classes: C.
        widths: channels of the three groups.
        in_channels: channels of the images (B, in_channels, H, W), H and W at least 16.
        hidden: units of ``fc``.
        whiten: images (n, in_channels, H, W), as the network will see them, from which
            the first layer is set to whiten 2x2 patches (then it is not trained; at
            most ``WHITENING`` are used); None leaves it random.

    >>> SmallNet(10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        widths: tuple[int, int, int] = (32, 64, 96),
        in_channels: int = 3,
        hidden: int = 256,
        whiten: Tensor | None = None,
    ) -> None:
        super().__init__()
        patch = 4 * in_channels
        self.whiten = nn.Conv2d(in_channels, 2 * patch, 2, stride=2)
        if whiten is not None:
            self._set_whitening(whiten)
        groups, channels = [], 2 * patch
        for width in widths:
            groups += [*conv_group(channels, width)]
            channels = width
        self.groups = nn.Sequential(*groups)
        self.fc = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, num_classes)

    @torch.no_grad()
    def _set_whitening(self, images: Tensor, eps: float = 5e-4) -> None:
        """Eigenvectors of 2x2 patches, both signs, scaled to unit variance."""
        images = images[:WHITENING].float()
        patches = F.unfold(images, 2, stride=2).transpose(1, 2).flatten(0, 1)
        patches = patches - patches.mean(dim=0)  # (n, 4 * in_channels)
        covariance = patches.T.double() @ patches.double() / len(patches)
        values, vectors = torch.linalg.eigh(covariance)
        filters = (vectors / (values + eps).sqrt()).T  # one row a filter
        filters = filters.float().view(-1, *self.whiten.weight.shape[1:])
        self.whiten.weight.copy_(torch.cat([filters, -filters]))
        self.whiten.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.groups(F.relu(self.whiten(x)))
        h = x.mean(dim=(2, 3))  # (B, widths[-1])
        return self.fc2(F.relu(self.fc(h)))


def conv_group(inputs: int, outputs: int) -> list[nn.Module]:
    """Convolution, pooling, BatchNorm, ReLU; convolution, BatchNorm, ReLU."""
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]


class VGGNet(nn.Module):
    """A small plain network in the manner of VGG: 3x3 convolutions and max-pooling.

    Three pairs of convolutions (each with BatchNorm and ReLU, a max-pool after the
    pair), a max-pool down to 2x2 for 32x32 images, and the paper's kind of head. About
    0.14 M parameters; on a CPU a step takes about as long as one of ``SmallNet``.

    Args:
        num_classes: C.
        widths: channels of the three pairs.
        in_channels: channels of the images (B, in_channels, H, W).
        hidden: units of ``fc``.
        batchnorm: False leaves BatchNorm out (the convolutions then have biases).

    Source: after Simonyan and Zisserman (2015), with BatchNorm.

    >>> VGGNet(10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        widths: tuple[int, int, int] = (16, 32, 64),
        in_channels: int = 3,
        hidden: int = 256,
        batchnorm: bool = True,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for width in widths:
            for _ in range(2):
                layers.append(
                    nn.Conv2d(channels, width, 3, padding=1, bias=not batchnorm)
                )
                layers += [nn.BatchNorm2d(width)] if batchnorm else []
                layers.append(nn.ReLU())
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveMaxPool2d(2)
        self.fc = nn.Linear(4 * channels, hidden)
        self.fc2 = nn.Linear(hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.pool(self.features(x)).flatten(1)  # (B, 4 * widths[-1])
        return self.fc2(F.relu(self.fc(h)))


class SmallViT(nn.Module):
    """A small vision transformer: torchvision's, with the paper's kind of head.

    Patches of 4x4 and a class token, four blocks of four heads; ``fc`` reads the class
    token. About 0.16 M parameters; needs torchvision (``pip install rlap[vision]``).
    On few images it learns less than a network with convolutions does: it is here so
    that what claims to take any network can be seen to.

    Args:
        num_classes: C.
        width: of the tokens, a multiple of four.
        depth: blocks.
        in_channels: channels of the images (B, in_channels, size, size).
        hidden: units of ``fc``.
        size: of the images, a multiple of four.

    Source: Dosovitskiy et al. (2021), by torchvision.

    >>> SmallViT(10, width=8, depth=1)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        width: int = 64,
        depth: int = 4,
        in_channels: int = 3,
        hidden: int = 256,
        size: int = 32,
    ) -> None:
        from torchvision.models import VisionTransformer

        super().__init__()
        self.body = VisionTransformer(size, 4, depth, 4, width, 2 * width)
        if in_channels != 3:
            self.body.conv_proj = nn.Conv2d(in_channels, width, 4, 4)
        self.body.heads = nn.Identity()
        self.fc = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.relu(self.fc(self.body(x))))
