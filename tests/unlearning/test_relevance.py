"""Relevance: rules by hand, conservation on plain and residual nets, and refusals."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from conftest import ConvNet, convnet, randn, scrambled, seeded, untouched
from torch import Tensor, nn

from rlap.models import ResNet18, SmallNet, VGGNet, build
from rlap.unlearning.lrp.propagation import NotConserved, relevance
from rlap.unlearning.lrp.rules import Rule

RULES = {
    "epsilon": Rule("epsilon"),
    "gamma": Rule("gamma"),
    "alpha1": Rule("alpha_beta"),
    "alpha2": Rule("alpha_beta", alpha=2.0),
}


def used(net: nn.Module) -> nn.Module:
    """BatchNorms as after training: statistics, shifts, and scales of both signs."""
    for i, module in enumerate(net.modules()):
        if isinstance(module, nn.BatchNorm2d):
            d = module.num_features
            module.running_mean.copy_(0.3 * randn(d, seed=i))
            module.running_var.copy_(0.5 + randn(d, seed=i + 1).abs())
            module.weight.data.copy_(randn(d, seed=i + 2))
            module.bias.data.copy_(0.3 * randn(d, seed=i + 3))
    return net.eval()


def nets() -> dict[str, nn.Module]:
    made = {
        "vgg": lambda: VGGNet(5, widths=(4, 6, 8)),
        "small": lambda: SmallNet(5, widths=(4, 6, 8)),
        "resnet18": lambda: ResNet18(5, width=4),
    }
    return {name: used(seeded(make)) for name, make in made.items()}


def linear(weight: list, bias: list | None = None) -> nn.Linear:
    weight = torch.tensor(weight)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight.data.copy_(weight)
    if bias is not None:
        layer.bias.data.copy_(torch.tensor(bias))
    return layer


# --- by hand ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # contributions of x = (1, 2) to z = 3*1 - 1*2 + 1 = 2, bias 1
        (Rule(epsilon=1e-12), [3.0, -2.0, 1.0]),
        # z' = 2 + .5 * (3 + 1) = 4, s = 2 / 4; positive ones count 1.5 times
        (Rule("gamma", gamma=0.5, epsilon=1e-12), [2.25, -1.0, 0.75]),
        # positive side 3 + 1 = 4, shares 2
        (Rule("alpha_beta", epsilon=1e-12), [1.5, 0.0, 0.5]),
        # positive side shares 4, the negative one -2
        (Rule("alpha_beta", alpha=2.0, epsilon=1e-12), [3.0, -2.0, 1.0]),
    ],
)
def test_one_layer_by_hand(rule, expected):
    net = nn.Sequential(linear([[3.0, -1.0]], [1.0]))
    found = relevance(net, torch.tensor([[1.0, 2.0]]), rule=rule)
    assert torch.allclose(found.inputs, torch.tensor([expected[:2]]))
    assert found.bias.item() == pytest.approx(expected[2])
    assert found.stabiliser.item() == pytest.approx(0, abs=1e-9)
    assert found.start.item() == found.logits.item() == 2
    size = sum(abs(v) for v in expected[:2])
    assert found.amplification.item() == pytest.approx(size / 2)


def test_the_stabiliser_takes_what_it_is_told_to():
    """z = 3, epsilon 1: a quarter of the relevance is lost to it."""
    net = nn.Sequential(linear([[3.0]]))
    found = relevance(net, torch.ones(1, 1), rule=Rule(epsilon=1.0))
    assert found.inputs.item() == pytest.approx(3 * 3 / 4)
    assert found.stabiliser.item() == pytest.approx(3 / 4)
    assert found.received.item() == pytest.approx(3 / 4)
    negative = relevance(net, -torch.ones(1, 1), rule=Rule(epsilon=1.0))
    assert negative.inputs.item() == pytest.approx(-3 * 3 / 4)


def test_spreading_divides_the_bias_equally():
    """The bias's share, 1, goes half to each input; start "one" halves everything."""
    net = nn.Sequential(linear([[3.0, -1.0]], [1.0]))
    x = torch.tensor([[1.0, 2.0]])
    rule = Rule(epsilon=1e-12)
    found = relevance(net, x, rule=rule, bias="spread")
    assert torch.allclose(found.inputs, torch.tensor([[3.5, -1.5]]))
    one = relevance(net, x, rule=rule, bias="spread", start="one")
    assert torch.allclose(one.inputs, torch.tensor([[1.75, -0.75]]))
    assert one.start.item() == 1


class Residual(nn.Module):
    """x + A x, then a sum over units: relevance divides between both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.a = linear([[2.0, 0.0], [1.0, 1.0]])
        self.out = linear([[1.0, 2.0]])

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x + self.a(x))


def test_a_residual_sum_by_hand():
    """x = (1, 2): branch (2, 3), sum (3, 5), logit 13 = 3 + 10.

    The branch gets 2 and 6: its unit 0 passes 2 to x0; unit 1 (1 + 2) passes 2 to x0
    and 4 to x1. The shortcut gets 1 and 4.
    """
    found = relevance(Residual(), torch.tensor([[1.0, 2.0]]), rule=Rule(epsilon=1e-12))
    assert torch.allclose(found.layers["a"], torch.tensor([[2.0, 6.0]]))
    assert torch.allclose(found.inputs, torch.tensor([[5.0, 8.0]]))


def test_pooling_by_hand():
    """The mean shares in proportion, the maximum sends all to the winner."""
    x = torch.tensor([[[[1.0, 3.0], [2.0, 2.0]]]])
    for pool, expected in (
        (nn.AvgPool2d(2), [[0.25, 0.75], [0.5, 0.5]]),
        (nn.MaxPool2d(2), [[0.0, 3.0], [0.0, 0.0]]),
    ):
        net = nn.Sequential(pool, nn.Flatten(), linear([[1.0]]))
        found = relevance(net, x, rule=Rule(epsilon=1e-12))
        assert torch.allclose(found.inputs[0, 0], torch.tensor(expected))


# --- conservation -------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("bias", ["absorb", "spread"])
def test_relevance_is_conserved_on_every_net(rule, bias):
    x = randn(3, 3, 16, 16)
    for net in nets().values():
        found = relevance(net, x, rule=RULES[rule], bias=bias, tolerance=1e-6)
        with torch.no_grad():  # folding BatchNorm changed nothing, negative scales too
            assert torch.allclose(found.logits, net(x), atol=1e-5)
        total = found.inputs.double().flatten(1).sum(1)
        whole = total + found.bias + found.stabiliser
        size = found.inputs.abs().flatten(1).sum(1) + found.start.abs()
        assert ((whole - found.start).abs() <= 1e-5 * size).all()
        if bias == "spread":
            assert not found.bias.any() and not found.stabiliser.any()
        for layer in ("fc", "fc2"):
            assert found.layers[layer].shape[:2] == (3, 256 if layer == "fc" else 5)


def test_every_layer_of_a_plain_net_carries_the_whole_relevance():
    """Spread, nothing is lost between layers either."""
    net = nets()["vgg"]
    found = relevance(net, randn(2, 3, 16, 16), bias="spread", rule=RULES["gamma"])
    assert list(found.layers)[-2:] == ["fc", "fc2"] and len(found.layers) == 8
    for values in found.layers.values():
        assert torch.allclose(values.flatten(1).sum(1), found.start, rtol=1e-4)


def test_a_lone_batchnorm_constants_and_concatenation_conserve():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn = nn.BatchNorm2d(2)
            self.conv = nn.Conv2d(2, 3, 3, groups=1, padding=1)
            self.relu = nn.ReLU(inplace=True)
            self.fc = nn.Linear(5, 4)
            self.register_buffer("shift", torch.tensor(0.5))

        def forward(self, x: Tensor) -> Tensor:
            x = (self.bn(x) - self.shift) / 2
            y = self.relu(self.conv(x))
            y = torch.cat([F.avg_pool2d(y, 2), x[:, :, ::2, ::2]], 1)
            return self.fc(y.mean((2, 3)).view(y.size(0), -1))

    net = used(seeded(Odd))
    found = relevance(net, randn(4, 2, 8, 8), bias="spread", tolerance=1e-6)
    assert found.error.max() < 1e-6
    assert torch.allclose(found.logits, net(randn(4, 2, 8, 8)), atol=1e-5)


def test_batches_and_chosen_classes():
    net, x = nets()["resnet18"], randn(5, 3, 16, 16)
    whole = relevance(net, x, target=2)
    parts = relevance(net, x, target=torch.full((5,), 2), batch_size=2)
    assert torch.allclose(whole.inputs, parts.inputs, rtol=1e-4, atol=1e-7)
    assert torch.equal(whole.start, whole.logits[:, 2])
    guess = relevance(net, x)
    assert torch.equal(guess.target, guess.logits.argmax(1))


def test_overrides_change_one_layer_alone():
    net, x = nets()["vgg"], randn(2, 3, 16, 16)
    plain = relevance(net, x)
    mixed = relevance(net, x, overrides={"fc": RULES["alpha1"]})
    assert torch.equal(plain.layers["fc"], mixed.layers["fc"])  # what it received
    assert not torch.allclose(plain.inputs, mixed.inputs)


# --- captum -------------------------------------------------------------------------


def plain_vgg(bias: bool) -> nn.Sequential:
    """What captum can follow: every activation a module, no BatchNorm."""
    net = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, bias=bias),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, padding=1, bias=bias),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, padding=1, bias=bias),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
        )
    )
    head = seeded(lambda: (nn.Linear(32, 12, bias=bias), nn.Linear(12, 4, bias=bias)))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features, self.fc, self.fc2 = net, *head
            self.relu = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.fc2(self.relu(self.fc(self.features(x).flatten(1))))

    return Net().eval()


@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not:UserWarning")
@pytest.mark.parametrize("name", ["epsilon", "gamma", "alpha1"])
def test_agrees_with_captum_on_a_plain_net(name):
    """Captum leaves biases out of the gamma and alpha-beta rules' factors: without
    biases, and with inputs >= 0 and a positive logit, both mean the same."""
    from captum.attr import LRP
    from captum.attr._utils import lrp_rules

    theirs = {
        "epsilon": lambda: lrp_rules.EpsilonRule(1e-9),
        "gamma": lambda: lrp_rules.GammaRule(0.25),
        "alpha1": lambda: lrp_rules.Alpha1_Beta0_Rule(),
    }[name]
    net = plain_vgg(bias=name == "epsilon")
    x = randn(6, 3, 12, 12).abs()
    target = net(x).argmax(1)
    assert (net(x).gather(1, target[:, None]) > 0).all()
    ours = relevance(net, x, rule=Rule(RULES[name].name, epsilon=1e-9))
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.rule = theirs()
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            module.rule = lrp_rules.EpsilonRule(1e-9)
    expected = LRP(net).attribute(x, target=target)
    largest = expected.abs().max().item()
    assert largest > 0
    assert torch.allclose(ours.inputs, expected, rtol=0, atol=1e-4 * largest)


# --- what it refuses ----------------------------------------------------------------


def test_nothing_about_the_model_changes():
    net = scrambled(convnet())
    with untouched(net):
        relevance(net, randn(3, 2, 8, 8))
    with untouched(net), torch.inference_mode():
        relevance(net, randn(3, 2, 8, 8))


def test_rounding_beyond_the_tolerance_is_refused():
    """Spread over a residual net, the epsilon rule makes relevance of both signs a
    million times the logit: float64 adds that up, float32 cannot."""
    net, x = used(seeded(lambda: ResNet18(width=16))), randn(8, 3, 32, 32)
    relevance(net, x, bias="spread")
    with pytest.raises(NotConserved, match="of 8 samples.*larger epsilon"):
        relevance(net, x, bias="spread", precision=torch.float32, tolerance=1e-6)


def test_what_cannot_be_followed_is_named():
    class Gated(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.sigmoid(x)

    class Loop(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.fc(x))

    class Tokens(nn.Module):
        """BatchNorm over positions: not over the linear layer's units."""

        def __init__(self) -> None:
            super().__init__()
            self.token, self.bn = nn.Linear(2, 2), nn.BatchNorm1d(2)

        def forward(self, x: Tensor) -> Tensor:
            return self.bn(self.token(x.view(-1, 2, 2))).flatten(1)

    class Split(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.chunk(2, 1)[0]

    class Outer(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x[:, :1] * torch.ones(1, 4)).flatten(1)

    x = randn(2, 4)
    with pytest.raises(TypeError, match="no conserving rule for 'mul'"):
        relevance(Gated(), x)
    with pytest.raises(TypeError, match="no conserving rule for 'chunk'"):
        relevance(Split(), x)
    with pytest.raises(TypeError, match="no conserving rule for 'mul'"):
        relevance(Outer(), x)
    tokens = seeded(Tokens)
    tokens.bn.running_mean.copy_(torch.tensor([3.0, -3.0]))
    with pytest.raises(TypeError, match="gives other logits than as a whole"):
        relevance(tokens, x)
    with pytest.raises(TypeError, match="no conserving rule for LayerNorm '0'"):
        relevance(nn.Sequential(nn.LayerNorm(4)), x)
    with pytest.raises(TypeError, match="cannot trace"):
        relevance(Loop(), x)
    twice = seeded(Twice)
    assert relevance(twice, x, bias="spread").layers == {}
    with pytest.raises(ValueError, match="'fc' runs 2 times"):
        relevance(twice, x, layers=["fc"])
    hooked = nn.Sequential(nn.Linear(4, 2))
    hooked[0].register_forward_hook(lambda m, a, out: out / 2)
    with pytest.raises(TypeError, match="module '0' has forward hooks"):
        relevance(hooked, x)


def test_bad_values():
    net, x = seeded(ConvNet), randn(2, 2, 8, 8)
    bad = x.clone()
    bad[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        relevance(net, bad)
    with pytest.raises(ValueError, match="for 3 classes"):
        relevance(net, x, target=3)
    with pytest.raises(KeyError, match="no layer 'fc3'"):
        relevance(net, x, layers=["fc3"])
    with pytest.raises(ValueError, match="unknown bias 'drop'"):
        relevance(net, x, bias="drop")
    with pytest.raises(ValueError, match="start"):
        relevance(net, x, start="half")
    with pytest.raises(ValueError, match="unknown rule 'zplus'"):
        Rule("zplus")
    for wrong in ({"epsilon": 0.0}, {"gamma": -1.0}, {"alpha": 0.5}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Rule(**wrong)


def test_the_networks_of_the_package_can_be_followed():
    for name in ("small", "vgg", "resnet18"):
        width = 8 if name == "resnet18" else None
        net = build(name, 10, seed=0, width=width)
        assert relevance(net, randn(1, 3, 32, 32)).error.max() < 1e-6


@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not:UserWarning")
def test_captum_does_not_conserve_where_we_do():
    """Without any bias the input must receive all; through residual blocks captum's
    relevance does not add up."""
    from captum.attr import LRP
    from torchvision.models.resnet import BasicBlock

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, bias=False)
            self.blocks = nn.Sequential(*[BasicBlock(8, 8) for _ in range(3)])
            self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.pool(self.blocks(self.conv(x))).flatten(1))

    net, x = seeded(Net).eval(), randn(4, 3, 12, 12)
    ours = relevance(net, x, target=0, rule=Rule(epsilon=1e-9))
    assert torch.allclose(ours.received, torch.ones(4), atol=1e-3)
    logits = net(x)[:, 0].detach()
    theirs = LRP(net).attribute(x, target=0).flatten(1).sum(1).detach()
    assert ((theirs - logits).abs() > logits.abs()).all()
