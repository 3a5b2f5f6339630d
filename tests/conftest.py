"""Small networks and data that many tests share, none of them rlap's own."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rlap.data.base import Split


@pytest.fixture(autouse=True, scope="session")
def few_threads() -> None:
    """Tiny tensors: threads only cost, and other processes want the cores."""
    torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Each test, and what fixtures make for it, starts from the same random state: the
    tests before it in the same process decide nothing."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An empty data folder and an empty cache; nothing may be downloaded."""
    (tmp_path / "data").mkdir()
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("RLAP_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RLAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RLAP_OFFLINE", "1")
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def seeded(make, seed: int = 0):
    """What ``make`` returns when it starts from a seed; the global state is kept."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mlp(
    d: int = 6, hidden: int = 8, classes: int = 3, *, dropout: float = 0.0, seed=0
) -> nn.Sequential:
    """Linear, ReLU | fc: Linear, ReLU, (Dropout), Linear; the layer is "2"."""
    return seeded(
        lambda: nn.Sequential(
            nn.Linear(d, 10),
            nn.ReLU(),
            nn.Linear(10, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, classes),
        ),
        seed,
    )


class ConvNet(nn.Module):
    """conv, BatchNorm, in-place ReLU, pooling, dropout, fc, ReLU, dropout, fc2."""

    def __init__(self, channels: int = 4, hidden: int = 6, classes: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, 5, 3)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(5, hidden)
        self.drop2 = nn.Dropout(0.3)
        self.fc2 = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn(self.conv(x)))
        x = self.drop(torch.relu(self.conv2(x)).mean((2, 3)))
        return self.fc2(self.drop2(torch.relu(self.fc(x))))


def convnet(seed: int = 0) -> ConvNet:
    """A ConvNet whose BatchNorm has seen something, so that eval differs from train."""
    net = seeded(ConvNet, seed)
    net.bn.running_mean.copy_(randn(4, seed=seed + 1) * 0.1)
    net.bn.running_var.copy_(1 + randn(4, seed=seed + 2).abs())
    return net


def all_cnn(seed: int = 0) -> nn.Sequential:
    """Convolutions to the end: the logits are maps averaged over positions."""
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 3, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        ),
        seed,
    )


class Viewing(nn.Module):
    """Flattens as many tutorials do; an in-place ReLU after the hidden layer."""

    def __init__(self, view: bool = True) -> None:
        super().__init__()
        self.view = view
        self.conv = nn.Conv2d(2, 4, 3)
        self.fc = nn.Linear(144, 6)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Linear(6, 3)

    def forward(self, x):
        x = torch.relu(self.conv(x))
        x = x.view(-1, 144) if self.view else x.reshape(-1, 144)
        return self.fc2(self.relu(self.fc(x)))


class SharedConv(nn.Module):
    """One convolution that runs once, and one that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(torch.relu(self.stem(x)))
        x = torch.relu(self.conv(torch.relu(x)))
        return self.fc(x.mean((2, 3)))


def blobs(n: int = 60, d: int = 6, classes: int = 3, *, seed: int = 0) -> Split:
    """Gaussian classes 3 standard deviations apart."""
    labels = torch.arange(n) % classes
    centres = 3 * randn(classes, d, seed=100)
    return Split(centres[labels] + randn(n, d, seed=seed), labels, None, classes)


def pictures(n: int = 24, classes: int = 3, size: int = 8, *, seed: int = 0) -> Split:
    """Images (n, 2, size, size) whose brightness gives the class away."""
    labels = torch.arange(n) % classes
    x = randn(n, 2, size, size, seed=seed) + labels[:, None, None, None]
    return Split(x, labels, None, classes)


def state(model: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items()}


def same_state(model: nn.Module, before: dict[str, Tensor]) -> bool:
    now = model.state_dict()
    return now.keys() == before.keys() and all(
        torch.equal(now[k], v) for k, v in before.items()
    )


def raw(tensor: Tensor) -> bytes:
    return tensor.detach().numpy().tobytes()


def snapshot(model: nn.Module) -> dict[str, object]:
    """All that scoring must leave alone, in a form that == compares."""
    hook_tables = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    return {
        "weights": {k: raw(v) for k, v in model.state_dict().items()},
        "modes": [m.training for m in model.modules()],
        "hooks": [len(getattr(m, t)) for m in model.modules() for t in hook_tables],
        "attributes": [sorted(vars(m)) for m in model.modules()],
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "grads": [None if p.grad is None else raw(p.grad) for p in model.parameters()],
        "grad_mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "torch_rng": raw(torch.get_rng_state()),
        "numpy_rng": np.random.get_state()[1].tolist() + [np.random.get_state()[2]],
        "python_rng": random.getstate(),
    }


@contextmanager
def untouched(*models: nn.Module) -> Iterator[None]:
    """Fail if the block changes anything about the models or the global state."""
    before = [snapshot(m) for m in models]
    yield
    after = [snapshot(m) for m in models]
    for one, other in zip(before, after, strict=True):
        for key in one:
            assert one[key] == other[key], f"{key} changed"


def scrambled(model: nn.Module) -> nn.Module:
    """Mixed training modes, a frozen parameter and a gradient lying about."""
    modules = list(model.modules())
    for i, module in enumerate(modules):
        module.training = i % 2 == 0
    parameters = list(model.parameters())
    parameters[0].requires_grad_(False)
    parameters[1].grad = torch.ones_like(parameters[1])
    return model


def overlaps(figure) -> list[tuple[str, str]]:
    """Words below a figure's panels, or next to one another along an axis, that lie on
    one another or as good as; and those below that reach out of it."""
    figure.draw_without_rendering()
    shown = [ax for ax in figure.axes if ax.get_visible()]
    below = [t for t in [ax.xaxis.label for ax in shown] + figure.texts if t.get_text()]
    pairs = list(combinations(below, 2))
    for axis in (axis for ax in shown for axis in (ax.xaxis, ax.yaxis)):
        pairs += pairwise([t for t in axis.get_ticklabels() if t.get_text()])
    box = {t: t.get_window_extent() for pair in [*pairs, below] for t in pair}
    near = [(a, b) for a, b in pairs if box[a].padded(1).overlaps(box[b])]
    room = figure.bbox.padded(1)
    out = [t for t in below if box[t].x0 < room.x0 or box[t].x1 > room.x1]
    told = [(a.get_text(), b.get_text()) for a, b in near]
    return told + [(t.get_text(), "the edge") for t in out]


def change_packed(place: Path, name: str, how) -> None:
    """Rewrite one file of a pack."""
    if place.is_dir():
        (place / name).write_bytes(how((place / name).read_bytes()))
        return
    with zipfile.ZipFile(place) as archive:
        whole = {n: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(place, "w") as archive:
        for n, content in whole.items():
            archive.writestr(n, how(content) if n == name else content)
