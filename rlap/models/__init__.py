"""The networks. Every one ends in ``fc``, ReLU, ``fc2`` (to classes).

``fc`` is the paper's target layer: its pre-activations (256 of them, for speech
128) are attributed, regressed and pruned. Other code finds it by that name and never
by these classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rlap.checks import check_one_of, check_seed
from rlap.models.images import WHITENING, ResNet18, SmallNet, SmallViT, VGGNet
from rlap.models.speech import SpeechCNN, SpeechRes8
from rlap.network.layers import is_thin, preserved_random_state

__all__ = [
    "MODELS",
    "WHITENING",
    "ResNet18",
    "SmallNet",
    "SmallViT",
    "SpeechCNN",
    "SpeechRes8",
    "VGGNet",
    "build",
]

MODELS = {
    "small": SmallNet,
    "vgg": VGGNet,
    "vit": SmallViT,
    "resnet18": ResNet18,
    "speech_cnn": SpeechCNN,
    "speech_res8": SpeechRes8,
}
_WITH_WIDTH = ("resnet18", "speech_res8")
# The layout of inputs with one channel is ambiguous: there the weights say it. And the
# large ones of ResNet-18 need not be copied from one layout to the other in each step.
_CHANNELS_LAST = ("resnet18", "speech_cnn", "speech_res8")


def build(
    name: str,
    num_classes: int,
    *,
    seed: int,
    in_channels: int | None = None,
    width: int | None = None,
    whiten: Tensor | None = None,
) -> nn.Module:
    """A network by name (a key of ``MODELS``), its weights drawn from ``seed``.

    ``in_channels`` is 3 for the networks for images and 1 for those for speech,
    unless given. ``width`` only concerns ``resnet18`` and ``speech_res8``, ``whiten``
    only ``small``. The global random state stays as it was. Raises ``ValueError`` for
    an unknown name.

    >>> build("resnet18", 10, seed=0, width=8).fc
    Linear(in_features=64, out_features=256, bias=True)
    """
    check_one_of(name, MODELS, "model")
    seed = check_seed(seed)
    options: dict[str, object] = {}
    if in_channels is not None:
        options["in_channels"] = in_channels
    if name == "small":
        options["whiten"] = whiten
    elif name in _WITH_WIDTH and width is not None:
        options["width"] = width
    with preserved_random_state(torch.device("cpu"), seed):
        net = MODELS[name](num_classes, **options)
    if name in _CHANNELS_LAST and not any(map(is_thin, net.modules())):
        net = net.to(memory_format=torch.channels_last)
    return net
