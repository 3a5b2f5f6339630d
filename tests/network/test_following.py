"""The BatchNorm of a layer's units, by dataflow; what other norms read them."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
import torchvision
from conftest import mlp, randn, scrambled, seeded, untouched
from torch import Tensor, nn

from rlap.models import MODELS, build
from rlap.network.following import following_batchnorm, following_norms
from rlap.network.layers import SUPPORTED
from rlap.pruning import prune


class ConvsFirst(nn.Module):
    """Declared conv1, conv2, bn1, bn2; it runs conv1, bn1, conv2, bn2."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3)
        self.bn1, self.bn2 = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        for bn in (self.bn1, self.bn2):
            nn.init.uniform_(bn.bias, 0.2, 0.5)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.first = F.relu(self.bn1(self.conv1(x)))  # forwards may keep things
        self.second = F.relu(self.bn2(self.conv2(self.first)))
        return self.fc(self.second.mean((2, 3)))


class PreActivation(nn.Module):
    """BatchNorm, ReLU, convolution, twice, and a shortcut around both."""

    def __init__(self) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)
        self.bn2, self.conv2 = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(F.relu(self.bn1(x)))
        return self.conv2(F.relu(self.bn2(out))) + x


class Made(nn.Module):
    """A forward of one's own over conv, bn and other."""

    def __init__(self, forward, other: nn.Module | None = None) -> None:
        super().__init__()
        self.bn, self.other = nn.BatchNorm2d(4), other  # not in the order they run
        self.conv, self.body = nn.Conv2d(2, 4, 1), forward

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, x)


class OwnConv(nn.Conv2d):
    """A subclass that computes by itself."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight - self.weight.mean(), self.bias)


def quietly(model: nn.Module, layer: str) -> str | None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return prune(copy.deepcopy(model), layer=layer, units=[1]).batchnorm


# --- which one ----------------------------------------------------------------------


@pytest.mark.parametrize(("layer", "kept"), [("conv1", "second"), ("conv2", "first")])
def test_the_order_of_declaration_does_not_matter(layer, kept):
    net, x = seeded(ConvsFirst).eval(), randn(3, 2, 8, 8)
    net(x)
    before = {"first": net.first, "second": net.second}
    mask = prune(net, layer=layer, units=[1, 2])
    assert mask.batchnorm == layer.replace("conv", "bn")
    net(x)
    silent = {"first": net.first, "second": net.second}
    own = silent.pop({"conv1": "first", "conv2": "second"}[layer])
    assert not own[:, [1, 2]].any() and own[:, [0, 3]].any()
    if kept == "first":  # what runs before the layer is as it was
        assert torch.equal(silent["first"], before["first"])


def test_a_batchnorm_over_the_residual_sum_is_not_the_layers():
    net = nn.Sequential(nn.Conv2d(2, 4, 1), PreActivation(), PreActivation())
    assert quietly(net, "1.conv1") == "1.bn2"
    assert quietly(net, "1.conv2") is None
    with pytest.warns(UserWarning, match="masked: '1.bn1' .BatchNorm2d.;"):
        mask = prune(net, layer="0", units=[1])  # the shortcut reads it too
    assert mask.batchnorm is None


def test_syncbatchnorm_counts():
    net = nn.Sequential(nn.Conv2d(2, 4, 1), nn.SyncBatchNorm(4), nn.ReLU()).eval()
    nn.init.constant_(net[1].bias, 0.3)
    assert prune(net, layer="0", units=[1]).batchnorm == "1"
    assert not net(randn(3, 2, 4, 4))[:, 1].any()


FORWARDS = {
    "functional": (lambda m, x: m.bn(F.max_pool2d(F.relu(m.conv(x)), 2)), "bn"),
    "two lines": (lambda m, x: m.bn(F.dropout(m.conv(x).clone(), 0.5, False)), "bn"),
    "its size": (lambda m, x: m.bn((h := m.conv(x)).float()).view(h.size(0), -1), "bn"),
    "twice, alike": (lambda m, x: m.bn(m.conv(x)) + m.bn(m.conv(x + 1)), "bn"),
    "noted": (lambda m, x: (m.conv(x).abs().max(), m.bn(m.conv(x)))[1], "bn"),
    "read twice": (lambda m, x: m.bn(h := m.conv(x)) + h, None),
    "returned too": (lambda m, x: (h := m.conv(x), m.bn(h)), None),
    "reads more": (lambda m, x: m.bn(m.conv(x)) + m.bn(x[:, :1] * 2), None),
    "a sum": (lambda m, x: m.bn(m.conv(x) + x[:, :1]), None),
    "shuffled": (
        lambda m, x: m.bn(m.conv(x).view(3, 2, 2, 4).transpose(1, 2).reshape(3, 4, 2)),
        None,
    ),
    "never run": (lambda m, x: m.bn(F.conv2d(x, m.conv.weight)), None),
}


@pytest.mark.parametrize("case", FORWARDS)
def test_only_what_alone_reads_the_layer_and_nothing_else(case):
    forward, found = FORWARDS[case]
    assert following_batchnorm(Made(forward), "conv") == found


def test_added_in_place():
    def forward(m: Made, x: Tensor) -> Tensor:
        h = m.conv(x)
        h.add_(x[:, :1])
        return m.bn(h)

    assert following_batchnorm(Made(forward), "conv") is None


def test_a_linear_layer_on_pooled_features_and_subclasses():
    def forward(m: Made, x: Tensor) -> Tensor:
        h = m.other(x).mean((2, 3), keepdim=True)
        return m.bn1(h.view(h.size(0), -1))

    net = Made(forward, OwnConv(2, 4, 1))
    net.bn1 = nn.BatchNorm1d(4)
    assert following_batchnorm(net, "other") == "bn1"
    shape = (3, -1)
    net.body = lambda m, x: m.bn1(m.other(x).reshape(shape))
    assert following_batchnorm(net, "other") == "bn1"


def test_modules_under_two_names_and_shared_ones():
    net = ConvsFirst()
    net.again = nn.Sequential(net.conv1, net.bn1)  # the same, used once
    assert following_batchnorm(net, "conv1") == "bn1"
    bn = nn.BatchNorm2d(4)
    shared = nn.Sequential(nn.Conv2d(2, 4, 1), bn, nn.Conv2d(4, 4, 1), bn)
    assert following_batchnorm(shared, "0") is following_batchnorm(shared, "2") is None


# --- what torch.fx cannot trace -----------------------------------------------------


def untraceable(m: Made, x: Tensor) -> Tensor:
    h = m.bn(m.conv(x)) * float(x.mean())
    return h if m.other is None else m.other(h)


def test_a_clear_error_where_nothing_shows_it():
    net = Made(untraceable)
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(ValueError, match="which BatchNorm follows 'conv'.*batchnorm="):
        prune(net, layer="conv", units=[0])
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert prune(net, layer="conv", units=[0], batchnorm="bn").batchnorm == "bn"
    assert prune(net, layer="conv", units=[0], batchnorm=None).batchnorm is None


def test_modules_inside_may_show_it():
    inner = nn.Sequential(PreActivation(), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    net = Made(untraceable, inner)
    assert following_batchnorm(net, "other.1") == "other.2"
    assert following_batchnorm(net, "other.0.conv1") == "other.0.bn2"
    assert following_batchnorm(net, "other.0.conv2") is None
    inner.append(nn.Conv2d(4, 4, 1))  # its result leaves all that can be traced
    with pytest.raises(ValueError, match="cannot trace"):
        following_batchnorm(net, "other.3")
    inner[3] = nn.Conv2d(4, 5, 1)  # but no BatchNorm is over five channels
    assert following_batchnorm(net, "other.3") is None


UNSEEN = {
    "length": lambda m, x: m.bn(m.conv(x)).view(len(x), -1),
    "a guard": lambda m, x: m.bn(m.conv(x)) if x.dim() == 4 else x,
    "a condition": lambda m, x: m.bn(m.conv(x * 2 if x.sum() > 0 else x)),
    "on one way": lambda m, x: m.bn(m.conv(x)) if x.sum() > 0 else m.conv(x),
}


@pytest.mark.parametrize("case", UNSEEN)
def test_what_runs_may_depend_on_values_and_then_a_name_is_asked_for(case):
    net = Made(UNSEEN[case])
    with pytest.raises(ValueError, match="cannot trace .*batchnorm='...'"):
        prune(net, layer="conv", units=[0])
    assert prune(net, layer="conv", units=[0], batchnorm="bn").batchnorm == "bn"


def test_a_forward_replaced_on_the_instance():
    net = ConvsFirst()
    net.forward = lambda x: net.fc(net.conv1(x).mean((2, 3)))
    with pytest.raises(ValueError, match="was replaced"):
        following_batchnorm(net, "conv1")


# --- the caller's model -------------------------------------------------------------


def test_the_model_is_left_alone_and_its_hooks_see_nothing():
    net, seen = scrambled(seeded(ConvsFirst)), []
    net.register_buffer("steps", torch.zeros(()))
    body = nn.Sequential(nn.Sequential(net), nn.Identity())
    plain = ConvsFirst.forward

    class Counting(ConvsFirst):
        def forward(self, x: Tensor) -> Tensor:
            self.steps += 1
            return plain(self, x + torch.rand(1))

    net.__class__ = Counting
    net(randn(2, 2, 8, 8))  # it keeps activations that cannot be copied
    kept = net.first
    for module in body.modules():
        module.register_forward_hook(lambda m, args, out: seen.append(out))
        module.register_forward_pre_hook(lambda m, args: seen.append(args))
    with untouched(body):
        assert following_batchnorm(body, "0.0.conv2") == "0.0.bn2"
    assert not seen and net.first is kept


# --- other norms --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("norm", "warned"),
    [
        (nn.GroupNorm(2, 4), "not behind what .* masked: '1' .GroupNorm."),
        (nn.BatchNorm2d(4, affine=False), "'1' .BatchNorm2d."),
        (nn.InstanceNorm2d(4, affine=True), "'1' .InstanceNorm2d."),
        (nn.LayerNorm(6), "'1' .LayerNorm."),
        (nn.InstanceNorm2d(4), None),  # of a channel that is zero it is zero
        (nn.ReLU(), None),
    ],
)
def test_a_norm_that_cannot_be_masked_is_told(norm, warned):
    net = seeded(lambda: nn.Sequential(nn.Conv2d(2, 4, 1), norm)).train()
    net(randn(3, 2, 6, 6))  # statistics other than 0 and 1
    for parameter in norm.parameters():
        nn.init.constant_(parameter, 0.3)
    net.eval()
    if warned is None:
        assert quietly(net, "0") is None
        prune(net, layer="0", units=[1])
    else:
        with pytest.warns(UserWarning, match=warned) as caught:
            assert prune(net, layer="0", units=[1]).batchnorm is None
        assert caught[0].filename == __file__
    assert net(randn(3, 2, 6, 6))[:, 1].any() == (warned is not None)
    for quiet in ({"bias": False}, {"batchnorm": None}):  # as asked
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            prune(net, layer="0", units=[1], **quiet)


def test_norms_as_functions_and_batchnorms_that_others_read_too():
    def forward(m: Made, x: Tensor) -> Tensor:
        return F.layer_norm(m.conv(x).permute(0, 2, 3, 1), (4,))

    assert following_norms(Made(forward), "conv") == (None, ["layer_norm()"])
    both = Made(FORWARDS["read twice"][0])
    assert following_norms(both, "conv") == (None, ["'bn' (BatchNorm2d)"])


BEHIND = {
    "a concatenation": lambda m, x: m.other(torch.cat([x, m.conv(x)], 1)),
    "a part": lambda m, x: m.other(torch.cat([m.conv(x)[:, :2], m.conv(x)], 1)),
    "a gate": lambda m, x: m.other((h := m.conv(x)) * h.mean((2, 3), True).sigmoid()),
    "a shuffle": lambda m, x: m.other(m.conv(x).view(3, 2, 2, 4).transpose(1, 2)),
}


@pytest.mark.parametrize("case", BEHIND)
def test_norms_behind_what_joins_units_are_told(case):
    d = {"a shuffle": 2, "a gate": 4}.get(case, 6)
    net = Made(BEHIND[case], nn.BatchNorm2d(d))
    assert following_norms(net, "conv") == (None, ["'other' (BatchNorm2d)"])


def test_in_a_sum_units_do_not_revive():
    net = Made(lambda m, x: m.other(m.conv(x) + x[:, :1]), nn.BatchNorm2d(4))
    assert following_norms(net, "conv") == (None, [])


def test_densenet_pruned_units_revive_behind_a_concatenation():
    net = torchvision.models.densenet121(weights=None, num_classes=3).eval()
    layer = "features.denseblock1.denselayer1.conv2"
    with pytest.warns(UserWarning, match=r"not behind .*BatchNorm2d.* and \d+ more"):
        mask = prune(net, layer=layer, units=[1])
    assert mask.batchnorm is None
    block = layer.rpartition(".")[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert prune(net, layer=f"{block}.conv1", units=[1]).batchnorm == (
            f"{block}.norm2"
        )


# --- the package's own networks -----------------------------------------------------

OWN = {
    "small": {
        f"groups.{i}": f"groups.{j}"
        for i, j in ((0, 2), (4, 5), (7, 9), (11, 12), (14, 16), (18, 19))
    },
    "vgg": {f"features.{i}": f"features.{i + 1}" for i in (0, 3, 7, 10, 14, 17)},
    "resnet18": {"conv1": "bn1"}
    | {f"blocks.{b}.conv{i}": f"blocks.{b}.bn{i}" for b in range(8) for i in (1, 2)}
    | {f"blocks.{b}.shortcut.0": f"blocks.{b}.shortcut.1" for b in (2, 4, 6)},
    "speech_cnn": {"conv": "bn"},
    "speech_res8": {},
    "vit": {},
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("width", [None, 40])
def test_of_the_packages_own_networks(name, width):
    """Recorded runs rest on these; 40 is the width of a BatchNorm at another place."""
    net = build(name, 10, seed=0, width=width)
    layers = [n for n, m in net.named_modules() if isinstance(m, SUPPORTED)]
    found = {layer: following_batchnorm(net, layer) for layer in layers}
    assert {k: v for k, v in found.items() if v is not None} == OWN[name]
    assert quietly(net, "fc") is None


def test_a_network_without_norms():
    assert following_norms(mlp(), "2") == (None, [])
