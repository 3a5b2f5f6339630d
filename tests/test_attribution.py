"""Attribution: by hand, by captum, by finite differences, and without a trace."""

from __future__ import annotations

import copy

import captum.attr
import numpy as np
import pytest
import torch
from conftest import ConvNet, convnet, mlp, randn, scrambled, seeded, untouched
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

import rlap.attribution as attribution
from rlap.attribution import CAPTUM, METHODS, NEEDS_LABELS, attribute, scan
from rlap.network.head import run_head
from rlap.network.layers import activations, get_layer

LABELS = torch.tensor([0, 2, 1, 1, 0])


class Tokens(nn.Module):
    """Linear layers on (B, T, d) sequences."""

    def __init__(self, act: nn.Module | None = None) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 5)
        self.fc = nn.Linear(5, 6)
        self.act = act or nn.ReLU()
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.act(self.fc(torch.tanh(self.embed(x)))).mean(1))


class Residual(nn.Module):
    """Something else than ReLU(z) enters or leaves the last layer."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.fc, self.fc2 = nn.Linear(5, 5), nn.Linear(5, 3)
        self.scale = nn.Parameter(torch.tensor(1.7))

    def forward(self, x: Tensor) -> Tensor:
        z = self.fc(x)
        if self.kind == "before":
            return self.fc2(torch.relu(z) + z)
        if self.kind == "in_place":
            y = self.fc2(torch.relu(z))
            y += z[:, :3] ** 2
            return y
        if self.kind == "scaled":  # y may die and its address be used again
            y = self.fc2(torch.relu(z)).tanh()
            y = y.exp()
            return y * self.scale
        return self.fc2(torch.relu(z)) + z[:, :3] ** 2


def by_loop(model: nn.Module, x: Tensor, layer: str) -> Tensor:
    """|max_c sum_p df_c/dz * z| by one plain backward pass a class (double)."""
    zs: list[Tensor] = []
    module = get_layer(model, layer)
    hook = module.register_forward_hook(lambda m, a, out: zs.append(out) or out.clone())
    modes = [m.training for m in model.modules()]
    logits = model.eval()(x)
    hook.remove()
    for m, mode in zip(model.modules(), modes, strict=True):
        m.training = mode
    z = zs[0]
    products = [
        torch.autograd.grad(logits[:, c].sum(), z, retain_graph=True)[0] * z
        for c in range(logits.shape[1])
    ]
    best = []
    for p in products:
        if isinstance(module, nn.Conv2d):
            best.append(p.sum((2, 3)))
        else:
            best.append(p.flatten(1, -2).sum(1) if p.dim() > 2 else p)
    return torch.stack(best).amax(0).abs().detach()


def nets() -> list:
    return [
        pytest.param(mlp(), (5, 6), "2", id="mlp"),
        pytest.param(mlp(), (5, 6), "0", id="mlp-early"),
        pytest.param(mlp(), (5, 6), "5", id="last-layer"),
        pytest.param(convnet(), (5, 2, 8, 8), "fc", id="convnet-fc"),
        pytest.param(convnet(), (5, 2, 8, 8), "conv", id="conv-inplace-relu"),
        pytest.param(convnet(), (5, 2, 8, 8), "conv2", id="conv2"),
        pytest.param(seeded(Tokens), (5, 7, 4), "fc", id="tokens"),
        pytest.param(seeded(lambda: Tokens(nn.GELU())), (5, 7, 4), "fc", id="gelu"),
        pytest.param(seeded(lambda: Residual("before")), (5, 5), "fc", id="residual"),
    ]


# --- by hand ------------------------------------------------------------------------


def hand_net() -> nn.Sequential:
    """z = (x1, x2 + 1, x1 - x2); three classes."""
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0], [0, 1], [1, -1]]))
        net[0].bias.copy_(torch.tensor([0.0, 1, 0]))
        net[2].weight.copy_(torch.tensor([[2.0, -1, 0.5], [-3, -2, 1], [1, -4, -6]]))
        net[2].bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
    return net


# x = (1, 2): z = (1, 3, -1); x = (3, -2): z = (3, -1, 5)
HAND_X = torch.tensor([[1.0, 2], [3, -2]])


@pytest.mark.parametrize("fast", [True, False])
def test_by_hand(fast):
    # max_c W = (2, -1, 1); |max_c (W_c relu'(z) z)|, so -1 * 3 counts as 3
    expected = torch.tensor([[2.0, 3, 0], [6, 0, 5]])
    got = attribute(hand_net(), HAND_X, layer="0", fast=fast)
    assert torch.equal(got, expected)


def test_other_methods_by_hand():
    # logits(1, 2) = (-0.9, -8.8, -10.7); logits(3, -2) = (8.6, -3.8, -26.7)
    net, y = hand_net(), torch.tensor([2, 1])
    logits = scan(net, HAND_X, layer="0").logits
    assert torch.allclose(
        logits, torch.tensor([[-0.9, -8.8, -10.7], [8.6, -3.8, -26.7]])
    )
    predicted = attribute(
        net, HAND_X, layer="0", method="gradient_x_activation_predicted"
    )
    assert torch.allclose(predicted, torch.tensor([[2.0, 3, 0], [6, 0, 2.5]]))
    given = attribute(
        net, HAND_X, layer="0", method="gradient_x_activation_label", labels=y
    )
    assert torch.allclose(given, torch.tensor([[1.0, 12, 0], [9, 0, 5]]))
    active = attribute(net, HAND_X, layer="0", method="activation")
    assert torch.equal(active, torch.tensor([[1.0, 3, 0], [3, 0, 5]]))
    # loss: gradient sum_c (p_c - 1[c = y]) W_c
    p = logits.double().softmax(1)
    p[torch.arange(2), y] -= 1
    weights = net[2].weight.detach().double()
    expected = ((p @ weights) * active.double()).abs()
    loss = attribute(
        net, HAND_X, layer="0", method="loss_gradient_x_activation", labels=y
    )
    assert torch.allclose(loss.double(), expected, atol=1e-5)


def test_a_conv_by_hand():
    """1x1 convolution, two pixels, no ReLU: pixels are summed before the max."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1, bias=False)
            self.weight = nn.Parameter(torch.tensor([[1.0, -1.0], [-1.0, 3.0]]))

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).flatten(1) @ self.weight

    net = Net()
    nn.init.constant_(net.conv.weight, 2.0)
    x = torch.tensor([1.0, 2.0]).view(1, 1, 1, 2)  # z = (2, 4)
    # class 0: 1*2 - 1*4 = -2; class 1: -1*2 + 3*4 = 10
    assert attribute(net, x, layer="conv").tolist() == [[10.0]]
    assert activations(net, x, layer="conv").tolist() == [[3.0]]
    # x = (2, 1): class 0: 4 - 2 = 2; class 1: -4 + 6 = 2; negate: both -2
    assert attribute(net, -x.flip(3), layer="conv").tolist() == [[2.0]]


# --- the same as others -------------------------------------------------------------


@pytest.mark.parametrize(("model", "shape", "layer"), nets())
@pytest.mark.parametrize("fast", [True, False])
def test_equals_the_loop_over_classes_and_captum(model, shape, layer, fast):
    x = randn(*shape)
    got = attribute(model, x, layer=layer, fast=fast)
    assert torch.allclose(got, by_loop(model, x, layer), atol=1e-6)
    module = get_layer(model, layer)
    modes = [m.training for m in model.modules()]
    model.eval()
    explain = captum.attr.LayerGradientXActivation(model, module)
    each = [explain.attribute(x, target=c).detach() for c in range(3)]
    for m, mode in zip(model.modules(), modes, strict=True):
        m.training = mode
    if isinstance(module, nn.Conv2d):
        each = [e.sum((2, 3)) for e in each]
    elif each[0].dim() == 3:
        each = [e.sum(1) for e in each]
    assert torch.allclose(got, torch.stack(each).amax(0).abs(), atol=1e-5)
    assert got.abs().sum() > 0.01


@pytest.mark.parametrize(("model", "shape", "layer"), nets())
def test_equals_finite_differences(model, shape, layer):
    """A central difference of the logits when one unit is scaled by 1 +- h."""
    net, h = copy.deepcopy(model).double().eval(), 1e-5
    x = randn(*shape).double()
    got = attribute(net, x, layer=layer).double()
    module = get_layer(net, layer)
    dim = 1 if isinstance(module, nn.Conv2d) else -1

    def logits(unit: int, factor: float) -> Tensor:
        def scale(m, args, out):
            out = out.clone()
            out.select(dim, unit).mul_(factor)
            return out

        hook = module.register_forward_hook(scale)
        with torch.no_grad():
            result = net(x)
        hook.remove()
        return result

    for unit in range(got.shape[1]):
        # d f(.., (1 + t) z_j, ..) / dt at 0 is the sum over positions of df/dz z
        slope = (logits(unit, 1 + h) - logits(unit, 1 - h)) / (2 * h)
        assert torch.allclose(got[:, unit], slope.amax(1).abs(), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6), d=st.integers(1, 9), classes=st.integers(2, 12),
    n=st.integers(1, 20), limit=st.integers(1, 200),
)  # fmt: skip
def test_it_is_a_rescaled_relu(seed, d, classes, n, limit):
    """|max_c W| ReLU(z), whatever the network; and any chunking of the classes."""
    net = mlp(d=4, hidden=d, classes=classes, seed=seed)
    x = randn(n, 4, seed=seed + 1)
    with torch.no_grad():
        z = net[2](net[1](net[0](x)))
        expected = net[5].weight.amax(0).abs() * z.relu()
    fast = attribute(net, x, layer="2")
    assert torch.allclose(fast, expected, atol=1e-6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attribution, "MAX_ELEMENTS", limit)
        general = attribute(net, x, layer="2", fast=False)
    assert torch.allclose(general, fast, atol=1e-5)


def test_standardised_it_is_the_activation():
    """Why the gradient plays no role in the paper's clustering (one-ReLU heads)."""
    net, x = mlp(hidden=20, seed=3), randn(200, 6)
    a = attribute(net, x, layer="2", fast=False).double().numpy()
    r = attribute(net, x, layer="2", method="activation").double().numpy()
    assert not np.allclose(a, r, atol=1e-2)
    alive = r.std(0) > 0
    assert alive.sum() > 10
    scaled = [StandardScaler().fit_transform(v[:, alive]) for v in (a, r)]
    assert np.allclose(*scaled, atol=1e-4)


@pytest.mark.parametrize("name", sorted(CAPTUM))
@pytest.mark.parametrize("layer", ["fc", "conv2"])
def test_captum_methods_by_name(name, layer):
    class Net(nn.Module):
        """DeepLift wants every ReLU to be a module of its own."""

        def __init__(self) -> None:
            super().__init__()
            self.conv2, self.relu = nn.Conv2d(2, 5, 3), nn.ReLU()
            self.fc, self.relu2, self.fc2 = nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.relu(self.conv2(x)).mean((2, 3))
            return self.fc2(self.relu2(self.fc(h)))

    net, x = scrambled(seeded(Net)), randn(5, 2, 8, 8)
    with untouched(net):
        got = attribute(net, x, layer=layer, method=name, labels=LABELS, batch_size=3)
        predicted = attribute(net, x, layer=layer, method=name)
    explain = getattr(captum.attr, CAPTUM[name])(net.eval(), get_layer(net, layer))
    for result, target in ((got, LABELS), (predicted, net(x).argmax(1))):
        expected = explain.attribute(x, target=target).detach()
        if layer == "conv2":
            expected = expected.sum((2, 3))
        assert torch.allclose(result, expected.abs(), atol=1e-5)
    if name == "captum:gradient_x_activation":
        own = attribute(
            net, x, layer=layer, method="gradient_x_activation_label", labels=LABELS
        )
        assert torch.allclose(own, got, atol=1e-5)


def test_the_label_methods_look_at_the_label_only_there():
    net, x = mlp(), randn(5, 6)
    for method in METHODS[:5]:
        one, other = (
            attribute(net, x, layer="2", method=method, labels=y)
            for y in (LABELS, (LABELS + 1) % 3)
        )
        assert torch.equal(one, other) == (method not in NEEDS_LABELS)


# --- when the closed form holds -----------------------------------------------------


@pytest.mark.parametrize(
    ("make", "closed"),
    [
        (mlp, True),
        (lambda: mlp(dropout=0.5), True),  # eval: dropout passes everything
        (lambda: Residual("before"), False),
        (lambda: Residual("after"), False),
        (lambda: Residual("in_place"), False),
        (lambda: Residual("scaled"), False),
        (lambda: nn.Sequential(nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 3)), False),
        (lambda: nn.Sequential(nn.Linear(5, 4), nn.Sigmoid(), nn.Linear(4, 3)), False),
        (
            lambda: nn.Sequential(
                nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3), nn.Tanh(), nn.Softplus()
            ),
            False,
        ),
        (
            lambda: nn.Sequential(
                nn.Linear(5, 4), nn.ReLU(), nn.LayerNorm(4), nn.Linear(4, 3)
            ),
            False,
        ),
    ],
)
def test_the_closed_form_only_where_it_holds(make, closed):
    net = seeded(make)
    layer = "2" if closed else ("fc" if isinstance(net, Residual) else "0")
    x = randn(40, net[0].in_features if isinstance(net, nn.Sequential) else 5)
    head = run_head(net.eval(), x, layer)
    assert (head.linear is not None) == closed
    fast, slow = (attribute(net, x, layer=layer, fast=f) for f in (True, False))
    assert torch.allclose(fast, slow, atol=1e-5)
    assert torch.allclose(fast, by_loop(net, x, layer), atol=1e-5)


def test_a_hook_of_the_user_on_the_last_layer_is_respected():
    net, x = mlp(), randn(5, 6)
    plain = attribute(net, x, layer="2")
    net[5].register_forward_hook(lambda m, a, out: out * 2)
    assert torch.allclose(attribute(net, x, layer="2"), 2 * plain, atol=1e-5)
    net[2].register_forward_hook(lambda m, a, out: out * 3)
    assert torch.allclose(attribute(net, x, layer="2"), 6 * plain, atol=1e-5)


def test_the_backbone_sees_no_gradient():
    """A backbone that cannot be differentiated does not matter."""

    class Round(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.round()

        @staticmethod
        def backward(ctx, grad):
            raise AssertionError("the backbone was differentiated")

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.fc, self.out = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            h = self.fc(Round.apply(self.a(x)))
            return self.out(torch.relu(h) + h)

    assert attribute(seeded(Net), randn(5, 4), layer="fc").isfinite().all()


def test_an_operation_that_vmap_cannot_batch():
    class Odd(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            assert grad.sum().item() is not None  # .item() is what vmap refuses
            return 2 * x * grad

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.out = nn.Linear(4, 5), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(Odd.apply(self.fc(x)))

    net, x = seeded(Net), randn(5, 4)
    assert torch.allclose(
        attribute(net, x, layer="fc"), by_loop(net, x, "fc"), atol=1e-5
    )


# --- it leaves no trace -------------------------------------------------------------

METHOD_ARGS = [
    pytest.param(m, LABELS if m in NEEDS_LABELS else None, id=m) for m in METHODS[:5]
]


@pytest.mark.parametrize(("method", "labels"), METHOD_ARGS)
def test_leaves_the_model_alone(method, labels):
    net, x = scrambled(convnet()), randn(5, 2, 8, 8).requires_grad_()
    for layer in ("fc", "conv"):
        with untouched(net):
            scan(net, x, layer=layer, method=method, labels=labels, batch_size=2)
            activations(net, x, layer=layer, batch_size=2)
    assert x.grad is None


def test_leaves_the_model_alone_when_the_forward_pass_fails_midway():
    class Breaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = ConvNet()
            self.after = 2

        def forward(self, x: Tensor) -> Tensor:
            self.after -= 1
            out = self.body(x)
            torch.rand(1)
            if self.after < 0:
                raise RuntimeError("out of order")
            return out

    for run in (
        lambda n, x: scan(n, x, layer="body.fc", batch_size=1),
        lambda n, x: activations(n, x, layer="body.fc", batch_size=1),
    ):
        net, x = scrambled(Breaks()), randn(5, 2, 8, 8)
        before = net.after
        with untouched(net), pytest.raises(RuntimeError, match="out of order"):
            run(net, x)
        assert net.after == before - 3  # it was the third batch that broke


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize(("method", "labels"), METHOD_ARGS)
def test_works_where_gradients_are_off(context, method, labels):
    net, x = convnet(), randn(5, 2, 8, 8)
    for layer in ("fc", "conv2"):
        expected = attribute(net, x, layer=layer, method=method, labels=labels)
        with context(), untouched(net):
            made_inside = x + 0
            y = labels + 0 if labels is not None else None
            for given in (x, made_inside):
                got = attribute(net, given, layer=layer, method=method, labels=y)
                assert torch.equal(got, expected)
                activations(net, given, layer=layer)


@pytest.mark.parametrize(("method", "labels"), METHOD_ARGS)
@pytest.mark.parametrize("layer", ["fc", "conv"])
def test_batch_size_and_order_do_not_matter(method, labels, layer):
    net, x = convnet(), randn(5, 2, 8, 8)
    whole = scan(net, x, layer=layer, method=method, labels=labels)
    for size in (1, 2, 5):
        parts = scan(net, x, layer=layer, method=method, labels=labels, batch_size=size)
        for name, value in vars(whole).items():
            assert torch.allclose(getattr(parts, name), value, atol=1e-5), name
    order = torch.tensor([3, 1, 4, 0, 2])
    y = labels[order] if labels is not None else None
    mixed = scan(net, x[order], layer=layer, method=method, labels=y)
    for name, value in vars(whole).items():
        assert torch.allclose(getattr(mixed, name), value[order], atol=1e-5), name


def test_a_scan_holds_activations_and_logits_of_the_same_pass():
    net, x = convnet().eval(), randn(5, 2, 8, 8)
    for layer in ("fc", "conv"):
        seen = scan(net, x, layer=layer)
        assert torch.allclose(seen.activations, activations(net, x, layer=layer))
        assert torch.allclose(seen.logits, net(x), atol=1e-6)
        assert {v.dtype for v in vars(seen).values()} == {torch.float32}
        assert not any(v.requires_grad for v in vars(seen).values())


def test_frozen_networks_are_fine():
    net, x = mlp(), randn(5, 6)
    expected = attribute(net, x, layer="2", fast=False)
    net.requires_grad_(False)
    for fast in (True, False):
        assert torch.allclose(
            attribute(net, x, layer="2", fast=fast), expected, atol=1e-6
        )


# --- errors -------------------------------------------------------------------------


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.unused, self.out = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.fc(self.fc(x)))


class Beside(nn.Module):
    """The layer runs, but the logits do not depend on it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.fc, self.out = how, nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        z = self.fc(x)
        if self.how == "ignored":
            return self.out(x)
        if self.how == "detached":
            return self.out(torch.relu(z).detach())
        with torch.no_grad():
            return self.out(torch.relu(z))


@pytest.mark.parametrize("score", [attribute, activations])
def test_unusable_layers(score):
    x = randn(5, 4)
    with pytest.raises(ValueError, match="'fc' ran 2 times"):
        score(Twice(), x, layer="fc")
    with pytest.raises(ValueError, match="'unused' ran 0 times"):
        score(Twice(), x, layer="unused")
    with pytest.raises(KeyError, match="no layer 'fc3'.*mean.*'fc2'"):
        score(convnet(), x, layer="fc3")
    with pytest.raises(KeyError, match="no layer 'head'"):
        score(convnet(), x, layer="head")
    with pytest.raises(TypeError, match="'relu' is a ReLU"):
        score(convnet(), x, layer="relu")
    with pytest.raises(TypeError, match="'bn' is a BatchNorm2d"):
        score(convnet(), x, layer="bn")
    with pytest.raises(TypeError, match="'' is a ConvNet"):
        score(convnet(), x, layer="")


@pytest.mark.parametrize("how", ["ignored", "detached", "no_grad"])
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_logits_that_do_not_depend_on_the_layer(how, fast, frozen):
    net = Beside(how).requires_grad_(not frozen)
    with untouched(net):
        for method in ("gradient_x_activation", "gradient_x_activation_predicted"):
            with pytest.raises(ValueError, match="do not depend on layer 'fc'"):
                attribute(net, randn(5, 4), layer="fc", fast=fast, method=method)


def test_unusable_arguments():
    net, x = mlp(), randn(5, 6)
    with pytest.raises(ValueError, match="NaN or infinite"):
        attribute(net, x.index_fill(0, torch.tensor(3), float("nan")), layer="2")
    with pytest.raises(ValueError, match="NaN or infinite"):
        activations(net, x * float("inf"), layer="2")
    with pytest.raises(ValueError, match="empty"):
        attribute(net, x[:0], layer="2")
    with pytest.raises(TypeError, match="floating point"):
        attribute(net, x.long(), layer="2")
    with pytest.raises(ValueError, match="unknown attribution 'saliency'"):
        attribute(net, x, layer="2", method="saliency")
    for method in NEEDS_LABELS:
        with pytest.raises(ValueError, match="needs labels"):
            attribute(net, x, layer="2", method=method)
        with pytest.raises(ValueError, match="4 entries for 5 samples"):
            attribute(net, x, layer="2", method=method, labels=LABELS[:4])
        with pytest.raises(ValueError, match="0..2 for 3 classes"):
            attribute(net, x, layer="2", method=method, labels=LABELS + 1)
    for size in (0, -3):
        with pytest.raises(ValueError, match="batch_size must be at least 1"):
            attribute(net, x, layer="2", batch_size=size)
        with pytest.raises(ValueError, match="batch_size must be at least 1"):
            activations(net, x, layer="2", batch_size=size)


def test_unusable_outputs():
    class Odd(nn.Module):
        def __init__(self, wrap) -> None:
            super().__init__()
            self.fc, self.wrap = nn.Linear(6, 3), wrap

        def forward(self, x: Tensor):
            return self.wrap(self.fc(x))

    x = randn(5, 6)
    with pytest.raises(TypeError, match="must return logits"):
        attribute(Odd(lambda z: (z, z)), x, layer="fc")
    with pytest.raises(TypeError, match="must return logits"):
        attribute(Odd(lambda z: z.sum(1)), x, layer="fc")
    with pytest.raises(ValueError, match="NaN or infinite logits"):
        attribute(Odd(lambda z: z / 0), x, layer="fc")


@pytest.mark.parametrize(("elements", "at_once"), [(None, 3), (1000, 2), (10, 1)])
def test_as_many_classes_at_once_as_memory_is_for(elements, at_once, monkeypatch):
    """Gradients of k classes for 60 samples of 8 units: 480 numbers a class."""
    sizes, gradient = [], attribution.batched_gradient
    monkeypatch.setattr(
        attribution,
        "batched_gradient",
        lambda logits, z, seeds: sizes.append(len(seeds)) or gradient(logits, z, seeds),
    )
    if elements is not None:
        monkeypatch.setattr(attribution, "MAX_ELEMENTS", elements)
    attribute(mlp(), randn(60, 6), layer="2", fast=False)
    assert max(sizes) == at_once and sum(sizes) == 3
    sizes.clear()
    attribute(mlp(), randn(60, 6), layer="2")  # the closed form needs no gradient
    assert sizes == []
