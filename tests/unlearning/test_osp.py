"""OSP: the penalty, statistics and scaling by hand, and the three readings."""

from __future__ import annotations

import copy
import time

import pytest
import torch
import torch.nn.functional as F
from conftest import (
    SharedConv,
    blobs,
    convnet,
    mlp,
    pictures,
    randn,
    same_state,
    scrambled,
    seeded,
    state,
    untouched,
)
from torch import nn

from rlap.data.base import Split
from rlap.models import VGGNet, build
from rlap.training.inference import predict
from rlap.training.loop import train
from rlap.training.recipe import Recipe
from rlap.unlearning.common.splits import split_class
from rlap.unlearning.common.statistics import (
    ClassStatistics,
    class_statistics,
    response_sites,
    weight_digest,
)
from rlap.unlearning.methods.orthogonality import (
    KernelOrthogonality,
    channel_correlation,
    gram_error,
    gram_parts,
    kernel_gram_error,
    mean_correlation,
    parts_of,
)
from rlap.unlearning.methods.osp import (
    READINGS,
    channel_scores,
    first_channels,
    forget_osp,
    last_stage,
    soft_prune,
    suppression,
)

RECIPE = Recipe(epochs=2, batch_size=8, lr=0.05, precision="fp32")


# --- orthogonal training ------------------------------------------------------------


def test_the_gram_error_by_hand():
    """Kernels (2, 0) and (1, 1): G = [[4, 2], [2, 2]], G - I = [[3, 2], [2, 1]]."""
    weight = torch.tensor([[2.0, 0.0], [1.0, 1.0]]).view(2, 2, 1, 1)
    assert gram_error(weight).item() == 9 + 4 + 4 + 1
    # three kernels of two values: W^T W = [[5, 1], [1, 2]], less I: 16 + 1 + 1 + 1
    wide = torch.cat([weight, torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)])
    assert gram_error(wide).item() == 19
    square = torch.linalg.qr(randn(6, 6))[0].view(6, 6, 1, 1)
    assert gram_error(square).item() == pytest.approx(0, abs=1e-10)


def test_the_parts_of_the_gram_error_by_hand():
    """Kernels (2, 0) and (1, 1): norms 4 and 2, cosine 1 / sqrt 2."""
    weight = torch.tensor([[2.0, 0.0], [1.0, 1.0]]).view(2, 2, 1, 1)
    found = parts_of(weight)
    assert found.norm == pytest.approx(((9 + 1) / 2) ** 0.5)
    assert found.cosine == pytest.approx(0.5**0.5)
    longer = parts_of(5 * weight)  # as orthogonal as before
    assert longer.cosine == pytest.approx(found.cosine) and longer.norm > found.norm
    square = torch.linalg.qr(randn(6, 6))[0].view(6, 6, 1, 1)
    assert parts_of(square).cosine == pytest.approx(0, abs=1e-6)
    assert parts_of(torch.ones(1, 3, 1, 1)).cosine == 0  # one kernel, no other
    net = convnet()
    net.conv.weight.requires_grad_(False)
    assert list(gram_parts(net)) == ["conv2"]


def test_the_penalty_sums_over_trained_convolutions():
    net = convnet()
    whole = gram_error(net.conv.weight) + gram_error(net.conv2.weight)
    assert torch.allclose(KernelOrthogonality(0.5)(net), 0.5 * whole)
    net.conv.weight.requires_grad_(False)
    assert torch.allclose(KernelOrthogonality(1.0)(net), gram_error(net.conv2.weight))
    with pytest.raises(TypeError, match="needs an nn.Conv2d"):
        KernelOrthogonality()(mlp())
    with pytest.raises(ValueError, match="strength must not be negative"):
        KernelOrthogonality(-1.0)


def test_channel_correlation_by_hand():
    a = torch.tensor([1.0, -1, 1, -1])
    b = torch.tensor([1.0, 1, -1, -1])
    constant = torch.ones(4)
    # |correlations| of the pairs: a with 2a 1, either with b 0
    rows = torch.stack([a, 2 * a, b, constant], dim=1)
    assert mean_correlation(rows, "x") == pytest.approx(1 / 3)
    assert mean_correlation(torch.stack([a, -a], 1), "x") == pytest.approx(1)
    assert mean_correlation(torch.stack([a, constant], 1), "x") == 0


def test_twin_channels_respond_together():
    net, split = convnet(), pictures(12)
    net.conv.weight.data[1:] = net.conv.weight.data[0]
    net.conv.bias.data[1:] = net.conv.bias.data[0]
    net.bn.running_mean.zero_()
    net.bn.running_var.fill_(1.0)
    with untouched(net):
        found = channel_correlation(net, split)
    assert set(found) == {"conv", "conv2"}
    assert found["conv"] == pytest.approx(1, abs=1e-6) and 0 <= found["conv2"] <= 1
    one = sum(gram_error(m.weight).item() for m in (net.conv, net.conv2))
    assert kernel_gram_error(net) == pytest.approx(one)


def test_strength_zero_is_no_penalty_to_the_bit():
    plain, zero, some = convnet(), convnet(), convnet()
    history = train(plain, pictures(), RECIPE, seed=1)
    same = train(zero, pictures(), RECIPE, seed=1, penalty=KernelOrthogonality(0.0))
    more = train(some, pictures(), RECIPE, seed=1, penalty=KernelOrthogonality(0.1))
    assert same_state(zero, state(plain)) and same.loss == history.loss
    assert more.loss[0] > history.loss[0]
    assert gram_error(some.conv2.weight) < gram_error(plain.conv2.weight)


def test_one_step_by_hand():
    """The first step moves by lr times the gradient of the sum of both losses."""
    net = seeded(lambda: nn.Sequential(nn.Conv2d(2, 3, 8), nn.Flatten()))
    split = pictures(6)
    start, penalty = copy.deepcopy(net), KernelOrthogonality(0.3)
    loss = F.cross_entropy(start(split.inputs), split.labels) + penalty(start)
    loss.backward()
    plain = {"momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}
    once = Recipe(1, 6, lr=0.1, precision="fp32", **plain)
    train(net, split, once, penalty=penalty)
    expected = start[0].weight - 0.1 * start[0].weight.grad
    assert torch.allclose(net[0].weight, expected, atol=1e-6)


def test_a_checkpoint_belongs_to_its_penalty(tmp_path):
    file, split = tmp_path / "c.pt", pictures()
    train(convnet(), split, RECIPE, penalty=KernelOrthogonality(0.1), checkpoint=file)
    with pytest.raises(ValueError, match="belongs to another run"):
        train(convnet(), split, RECIPE, checkpoint=file)
    again = KernelOrthogonality(0.1)  # an equal one is the same
    train(convnet(), split, RECIPE, penalty=again, checkpoint=file)


# --- statistics ---------------------------------------------------------------------


def two_channels() -> nn.Sequential:
    """Channel 0 is the image, channel 1 its negative; no BatchNorm."""
    net = nn.Sequential(
        nn.Conv2d(1, 2, 1, bias=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        seeded(lambda: nn.Linear(2, 3)),
    )
    net[0].weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    return net


def six_images() -> Split:
    """Classes 0, 0, 1, 2, 2, 2; each image holds the values v and -1."""
    values = torch.tensor([1.0, 3.0, 5.0, 0.0, 0.0, 3.0])
    images = torch.stack([values, -torch.ones(6)], 1).view(6, 1, 1, 2)
    return Split(images, torch.tensor([0, 0, 1, 2, 2, 2]), None, 3)


def test_class_means_and_scores_by_hand():
    found = class_statistics(two_channels(), six_images(), batch_size=4)
    expected = torch.tensor([[2.0, 1.0], [5.0, 1.0], [1.0, 1.0]])
    assert torch.equal(found.means["0"], expected)
    assert found.counts.tolist() == [2, 1, 3]
    # of class 1: 5 less the mean of the other five samples, (1 + 3 + 0 + 0 + 3) / 5
    assert torch.allclose(channel_scores(found, 1)["0"], torch.tensor([3.6, 0.0]))
    mean = class_statistics(two_channels(), six_images(), pooling="mean")
    assert torch.allclose(mean.means["0"], expected / 2)
    # 1, 3, 5, 0, 0, 3 have the variance 44 / 6 - 4; the other channel is always 1
    spread = (44 / 6 - 4) ** 0.5
    assert torch.allclose(found.spreads["0"], torch.tensor([spread, 0.0]))
    scores = channel_scores(found, 1, "standardised")["0"]
    assert torch.allclose(scores, torch.tensor([3.6 / spread, 0.0]))
    scores = channel_scores(found, 2, "standardised")["0"]  # it responds less: 1 - 2.5
    difference = channel_scores(found, 2)["0"]
    assert difference[0] < 0 < scores[0]
    assert scores[0].item() == pytest.approx(-difference[0].item() / spread)
    with pytest.raises(ValueError, match="unknown score 'size'; choose"):
        channel_scores(found, 1, "size")


def test_statistics_are_of_the_response_after_batchnorm_and_relu():
    net, split = scrambled(convnet()), pictures()
    with untouched(net):
        found = class_statistics(net, split)
    net.eval()
    with torch.no_grad():
        maps = F.relu(net.bn(net.conv(split.inputs))).amax((2, 3))
        later = F.relu(net.conv2(F.relu(net.bn(net.conv(split.inputs))))).amax((2, 3))
    for c in range(3):
        chosen = split.labels == c
        assert torch.allclose(found.means["conv"][c], maps[chosen].mean(0), atol=1e-5)
        assert torch.allclose(found.means["conv2"][c], later[chosen].mean(0), atol=1e-5)
    in_two = class_statistics(net, split_class(split, 1))
    assert torch.allclose(in_two.means["conv2"], found.means["conv2"], atol=1e-5)


def test_a_response_is_read_at_the_batchnorm_that_runs_next():
    """Whatever the order of declaration: here both convolutions come first."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3)
            self.bn1, self.bn2 = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = F.relu(self.bn1(self.conv1(x)))
            return F.relu(self.bn2(self.conv2(h))).mean((2, 3))

    assert response_sites(Net(), None) == {"conv1": "bn1", "conv2": "bn2"}


def test_statistics_survive_a_file_and_refuse_another_model(tmp_path):
    net, split = convnet(), pictures()
    found = class_statistics(net, split)
    found.save(tmp_path / "s.safetensors")
    back = ClassStatistics.load(tmp_path / "s.safetensors")
    assert list(back.means) == list(found.means) == ["conv", "conv2"]
    assert all(torch.equal(back.means[k], v) for k, v in found.means.items())
    assert all(torch.equal(back.spreads[k], v) for k, v in found.spreads.items())
    assert (back.pooling, back.digest) == ("max", weight_digest(net))
    assert back.sites == found.sites and set(back.sites) == set(back.means)
    back.check(copy.deepcopy(net))
    other = copy.deepcopy(net)
    other.fc2.bias.data[0] += 1e-6
    with pytest.raises(ValueError, match="of another model"):
        soft_prune(other, back, 1)
    (tmp_path / "s.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a safetensors file"):
        ClassStatistics.load(tmp_path / "s.safetensors")


def test_a_shared_convolution_has_no_statistics_but_does_not_stop_osp():
    net, split = seeded(SharedConv), pictures(30)
    with untouched(net):
        found = class_statistics(net, split, batch_size=8)
    assert list(found.means) == ["stem"]
    alone = class_statistics(net, split, layers=["stem"], batch_size=8)
    assert torch.equal(found.means["stem"], alone.means["stem"])
    with pytest.raises(ValueError, match="'conv' ran 2 times"):
        class_statistics(net, split, layers=["conv"])
    new = forget_osp(net, *split_class(split, 1), reading="gate")
    assert hasattr(new.stem, "gate") and not hasattr(new.conv, "gate")
    net.stem = net.conv  # which runs thrice then
    wide = Split(split.inputs.repeat(1, 2, 1, 1), split.labels)
    with pytest.raises(ValueError, match="no nn.Conv2d of the model runs exactly once"):
        class_statistics(net, wide)


# --- scaling ------------------------------------------------------------------------


def test_shuffled_statistics_keep_the_values_and_the_model():
    net, split = convnet(), pictures(12)
    found = class_statistics(net, split)
    other = found.shuffled(1)
    other.check(net)  # still of this model
    for name, means in found.means.items():
        columns, mixed = (
            {tuple(c) for c in m.T.tolist()} for m in (means, other.means[name])
        )
        assert columns == mixed
        pairs, mixed = (
            {(tuple(m.T.tolist()[j]), s.tolist()[j]) for j in range(m.shape[1])}
            for m, s in (
                (means, found.spreads[name]),
                (other.means[name], other.spreads[name]),
            )
        )
        assert pairs == mixed  # a channel keeps its spread
    assert any(not torch.equal(found.means[n], other.means[n]) for n in found.means)
    again = found.shuffled(1)
    assert all(torch.equal(other.means[n], again.means[n]) for n in found.means)


def test_strengths_by_rank():
    assert suppression(4, 0.5).tolist() == [0.75, 0.5, 0.5, 0.5]
    assert suppression(1, 0.5).tolist() == [0.5]
    assert suppression(4, 0.0).tolist() == [0.75, 0.5, 0.25, 0.0]
    assert suppression(3, 1.0).tolist() == [1.0, 1.0, 1.0]


def test_channels_by_rank_and_the_last_stage():
    scores = torch.tensor([0.1, 0.9, -0.5, 0.3])
    assert first_channels(scores, 0.5).tolist() == [1, 3]
    assert first_channels(scores, 0.01).tolist() == [1]
    net = VGGNet(3, widths=(4, 6, 8))
    names = [n for n, m in net.named_modules() if isinstance(m, nn.Conv2d)]
    assert last_stage(net, names) == names[-2:]


def test_the_right_channels_are_scaled():
    """Of two channels the one for class 1 is halved, whether by weight or gate."""
    net, split = two_channels(), six_images()
    found = class_statistics(net, split)
    for reading in ("weight", "gate"):
        with untouched(net):
            new = soft_prune(net, found, 1, fraction=0.5, reading=reading)
        with torch.no_grad():
            x = split.inputs
            ratio = torch.tensor([0.5, 1.0]).view(1, 2, 1, 1)
            assert torch.allclose(new[0](x), net[0](x) * ratio)
        assert ("0.gate" in new.state_dict()) == (reading == "gate")
    with pytest.raises(TypeError, match="no convolution is followed by a BatchNorm"):
        soft_prune(net, found, 1)
    with pytest.raises(TypeError, match="no BatchNorm follows '0'"):
        soft_prune(net, found, 1, layers=["0"])


def test_scaling_batchnorm_is_the_gate_and_scaling_kernels_is_not():
    net, split = convnet().eval(), pictures()
    net.bn.bias.data.fill_(2.0)  # which a scaled kernel leaves as it is
    found = class_statistics(net, split)
    made = {
        reading: soft_prune(net, found, 2, reading=reading, layers=["conv"])
        for reading in ("weight", "batchnorm", "gate")
    }
    outputs = {name: predict(new, split.inputs) for name, new in made.items()}
    assert torch.allclose(outputs["batchnorm"], outputs["gate"], atol=1e-6)
    assert not torch.allclose(outputs["weight"], outputs["gate"], atol=1e-3)
    copied = copy.deepcopy(made["gate"])  # a gate is copied and saved with its model
    assert torch.equal(predict(copied, split.inputs), outputs["gate"])
    with pytest.raises(RuntimeError, match="bn.gate"):
        net.load_state_dict(made["gate"].state_dict())


def test_strength_one_removes_the_channels():
    net, split = convnet().eval(), pictures()
    found = class_statistics(net, split)
    new = soft_prune(net, found, 0, fraction=0.3, floor=1.0, layers=["conv"])
    gone = channel_scores(found, 0)["conv"].topk(2).indices  # ceil(.3 * 4)
    with torch.no_grad():
        response = new.bn(new.conv(split.inputs))
    assert not response[:, gone].any()
    assert (response != 0).any((0, 2, 3)).sum() == 2


def test_forgetting_with_and_without_statistics_is_the_same():
    net, split = scrambled(VGGNet(3, widths=(4, 4, 4))), pictures(24, size=8)
    split = Split(split.inputs.repeat(1, 2, 1, 1)[:, :3], split.labels, None, 3)
    forget, retain = split_class(split, 1)
    with untouched(net):
        new = forget_osp(net, forget, retain)
    found = class_statistics(net, [forget, retain])
    cached = forget_osp(net, forget, statistics=found)
    assert same_state(new, state(cached)) and not same_state(new, state(net))
    left = {
        setting: soft_prune(net, found, 1, fraction=setting[0], floor=setting[1])
        .features[1]
        .weight.abs()
        .sum()
        for setting in ((0.25, 0.5), (1.0, 0.5), (1.0, 1.0))
    }
    assert left[1.0, 1.0] == 0 < left[1.0, 0.5] < left[0.25, 0.5]


def test_from_statistics_forgetting_takes_milliseconds():
    net = seeded(VGGNet)
    data = Split(randn(20, 3, 32, 32), torch.arange(20) % 10, None, 10)
    found = class_statistics(net, data)
    best = min(timed(lambda: soft_prune(net, found, 3)) for _ in range(3))
    assert best < 0.25  # a few milliseconds; a busy machine may need more


def timed(call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def test_from_statistics_nothing_is_traced(monkeypatch):
    """A trace for every layer made milliseconds half a second on a ResNet-18."""
    net = build("resnet18", 3, seed=0, width=4).eval()
    split = Split(randn(6, 3, 16, 16), torch.arange(6) % 3, None, 3)
    found = class_statistics(net, split)
    assert found.sites["conv1"] == "bn1"

    def refuse(*args):
        raise AssertionError("traced again")

    monkeypatch.setattr("rlap.network.following.following_norms", refuse)
    for reading in READINGS:
        soft_prune(net, found, 1, reading=reading)


def test_bad_values():
    net, split = convnet(), pictures()
    found = class_statistics(net, split)
    for settings, message in (
        ({"fraction": 0.0}, "fraction must be above 0"),
        ({"fraction": 1.5}, "fraction must lie between"),
        ({"floor": -0.1}, "floor must lie between"),
        ({"reading": "channel"}, "unknown reading 'channel'"),
    ):
        with pytest.raises(ValueError, match=message):
            soft_prune(net, found, 1, **settings)
    with pytest.raises(KeyError, match="know no layer 'fc'"):
        soft_prune(net, found, 1, layers=["fc"])
    with pytest.raises(ValueError, match="at most 2"):
        soft_prune(net, found, 3)
    forget, retain = split_class(split, 1)
    with pytest.raises(ValueError, match="no sample of class 1"):
        soft_prune(net, class_statistics(net, retain), 1)
    with pytest.raises(ValueError, match="no class but 1"):
        soft_prune(net, class_statistics(net, forget), 1)
    with pytest.raises(ValueError, match="needs the retain set"):
        forget_osp(net, forget)
    with pytest.raises(TypeError, match="no nn.Conv2d"):
        class_statistics(mlp(), Split(randn(3, 6), torch.arange(3)))
    with pytest.raises(TypeError, match="'fc' is no nn.Conv2d"):
        class_statistics(net, split, layers=["fc"])
    with pytest.raises(ValueError, match="unknown pooling"):
        class_statistics(net, split, pooling="sum")
    net.conv.weight.data[0] = float("nan")
    with pytest.raises(ValueError, match="response of 'conv'.*NaN"):
        class_statistics(net, split)


def test_dead_channels_and_kernels_count_as_nothing():
    """A channel that never varies has spread 0, a kernel of zeros length 0."""
    means = {"c": torch.tensor([[1.0, 1e-7], [0.0, 0.0]])}
    spreads = {"c": torch.tensor([0.5, 0.0])}
    known = ClassStatistics(means, spreads, {"c": "c"}, torch.tensor([2, 2]), "max", "")
    assert channel_scores(known, 0, "standardised")["c"].tolist() == [2.0, 0.0]
    dead = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]).view(3, 2, 1, 1)
    rows = torch.tensor([[0.0, 0, 0], [1.0, 0, 0], [1.0, 1, 0]]).view(3, 3, 1, 1)
    assert parts_of(rows).cosine == pytest.approx(0.5**0.5 / 3)
    assert parts_of(dead).cosine == pytest.approx(abs(1 / 2**0.5))  # of columns


def test_what_osp_cannot_scale_is_told_before_the_pass(monkeypatch):
    from rlap.unlearning.methods import osp

    monkeypatch.setattr(osp, "class_statistics", lambda *a, **k: pytest.fail("late"))
    net, images, rows = convnet(), pictures(12), blobs(12)
    for model, split, options, error, message in (
        (net, images, {"reading": "loud"}, ValueError, "unknown reading"),
        (net, images, {"floor": 2.0}, ValueError, "floor must lie"),
        (net, images, {"fraction": 0.0}, ValueError, "fraction must be above 0"),
        (net, images, {"layers": ["fc"]}, TypeError, "no nn.Conv2d"),
        (seeded(SharedConv), images, {}, TypeError, "is followed by a BatchNorm"),
        (mlp(), rows, {}, TypeError, "the model has no nn.Conv2d"),
    ):
        with pytest.raises(error, match=message):
            forget_osp(model, *split_class(split, 1), **options)
