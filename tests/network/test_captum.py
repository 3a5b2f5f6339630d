"""captum sees every nonlinearity: as a module of its own, and not in place."""

from __future__ import annotations

import captum.attr
import pytest
import torch
import torch.nn.functional as F
import torchvision
from conftest import Viewing, convnet, randn, scrambled, seeded, untouched
from torch import Tensor, nn

from rlap.attribution import CAPTUM, attribute
from rlap.models import MODELS, build
from rlap.network.captum import captum_attribution, modular
from rlap.network.watching import watching

# captum warns at each use that its hooks change the modules
pytestmark = pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")


class Head(nn.Module):
    """Two nonlinearities behind fc, as modules or as functions."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.stem, self.fc, self.fc2 = nn.Linear(6, 9), nn.Linear(9, 8), nn.Linear(8, 7)
        self.fc3, self.a, self.b, self.c = nn.Linear(7, 3), *(nn.ReLU(),) * 3
        self.a, self.b, self.c = nn.ReLU(), nn.Tanh(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "modules":
            return self.fc3(self.b(self.fc2(self.a(self.fc(self.c(self.stem(x)))))))
        if self.kind == "again":  # one ReLU for two places
            return self.fc3(self.b(self.fc2(self.a(self.fc(self.a(self.stem(x)))))))
        if self.kind == "untraceable" and x.sum() > 1e9:
            return x
        h = self.fc(F.relu(self.stem(x), inplace=True))
        if self.kind == "methods":
            return self.fc3(self.fc2(h.relu_()).tanh())
        if self.kind == "gelu":
            return self.fc3(F.gelu(5 * self.fc2(torch.relu(h))))
        return self.fc3(torch.tanh(self.fc2(torch.relu(h))))


@pytest.mark.parametrize("kind", ["functions", "methods", "again"])
@pytest.mark.parametrize("method", sorted(CAPTUM))
def test_functions_count_as_modules_do(kind, method):
    net, same = seeded(lambda: Head(kind)), seeded(lambda: Head("modules"))
    x = 3 * randn(20, 6)
    with untouched(scrambled(net)):
        got = attribute(net, x, layer="fc", method=method)
    assert torch.allclose(got, attribute(same, x, layer="fc", method=method), atol=1e-6)
    if method == "captum:deeplift":
        own = captum.attr.LayerDeepLift(same.eval(), same.fc)
        expected = own.attribute(x, target=same(x).argmax(1)).detach().abs()
        assert torch.allclose(got, expected, atol=1e-6)


def test_what_deeplift_cannot_account_for_is_refused():
    x = 3 * randn(20, 6)
    for kind in ("gelu", "untraceable"):
        with pytest.raises(ValueError, match="does not add up here .off by [0-9]+%"):
            attribute(
                seeded(lambda kind=kind: Head(kind)),
                x,
                layer="fc",
                method="captum:deeplift",
            )


def test_deeplift_of_our_own_networks_adds_up():
    """Behind ``fc`` they call ReLU as a function."""
    for name in MODELS:
        shape = (1, 40, 32) if name.startswith("speech") else (3, 32, 32)
        net, x = build(name, 3, seed=0), randn(6, *shape)
        scores = attribute(net, x, layer="fc", method="captum:deeplift")
        head = nn.Sequential(nn.ReLU(), net.fc2)
        seen: list[Tensor] = []
        with (
            torch.no_grad(),
            watching(net.eval(), ["fc"], lambda call, seen=seen: seen.append(call[3])),
        ):
            target = net(x).argmax(1)
            net(torch.zeros_like(x))
        explain = captum.attr.DeepLift(head)
        expected = explain.attribute(*seen, target=target)
        assert torch.allclose(scores, expected.detach().abs(), atol=1e-5), name


def test_integrated_gradients_need_no_backbone():
    """Fifty steps of the head, and not of the network, give what captum gives."""
    net, x = build("small", 3, seed=0).eval(), randn(6, 3, 32, 32)
    method, ran = "captum:integrated_gradients", []
    scores = attribute(net, x, layer="fc", method=method)
    copy = modular(net)
    explain = captum.attr.LayerIntegratedGradients(copy, copy.fc)
    expected = explain.attribute(x, target=net(x).argmax(1)).detach().abs()
    assert torch.allclose(scores, expected, atol=1e-5)
    first = next(n for n, m in net.named_modules() if isinstance(m, nn.Conv2d))
    with watching(copy, [first], lambda call: ran.append(len(call.input))):
        captum_attribution(copy, x, "fc", method, net(x).argmax(1))
    assert sum(ran) <= 4 * len(x)


def test_a_path_beside_the_layer_need_not_add_up():
    net = torchvision.models.resnet18(weights=None, num_classes=3).eval()
    x = randn(2, 3, 64, 64)
    scores = attribute(net, x, layer="layer4.1.conv2", method="captum:deeplift")
    assert scores.shape == (2, 512) and scores.any()


@pytest.mark.parametrize("make", [Viewing, convnet, lambda: Head("methods")])
@pytest.mark.parametrize("method", sorted(CAPTUM))
def test_a_relu_in_place_behind_the_layer(make, method):
    net = scrambled(seeded(make))
    x = randn(4, 6) if isinstance(net, Head) else randn(4, 2, 8, 8)
    with untouched(net):
        assert attribute(net, x, layer="fc", method=method).any()


def test_the_copy_computes_the_same():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(2, 4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = F.max_pool2d(F.leaky_relu(self.conv(x), 0.2, True), 2, ceil_mode=True)
            h += 1
            h = F.elu(h, alpha=0.5) * F.softplus(h, 2.0) + torch.sigmoid(h)
            return F.softmax(self.fc(h.mean((2, 3))), dim=1)

    net, x = seeded(Odd), randn(3, 2, 9, 9)
    new = modular(net)
    assert torch.allclose(new(x), net(x), atol=1e-6)
    kinds = {type(m).__name__ for m in new.modules()}
    assert {"LeakyReLU", "MaxPool2d", "ELU", "Softplus", "Sigmoid", "Softmax"} <= kinds
