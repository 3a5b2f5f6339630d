"""Networks that torch's own deepcopy refuses are copied all the same."""

from __future__ import annotations

import copy
import threading
import warnings

import pytest
import torch
from conftest import blobs, mlp, same_state, state, untouched
from torch import nn
from torch.nn.utils import prune as torch_pruning

import rlap
from rlap.network.copying import copy_of, draw_anew

DATA = blobs(40)
SHORT = rlap.Recipe(epochs=1, batch_size=16, precision="fp32")


class Keeping(nn.Module):
    """Keeps what it computed, nested, and a lock beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.kept = mlp(), {"outputs": []}
        self.lock, self.both = threading.Lock(), [threading.Lock(), {"z": None}]

    def forward(self, x):
        with self.lock:
            out = self.body(x)
        self.kept["outputs"].append(out)
        self.both[1]["z"] = out
        return out


def pruned() -> nn.Module:
    net = mlp()
    torch_pruning.l1_unstructured(net[0], "weight", amount=0.3)
    return net


def old_norm(kind: str) -> nn.Module:
    net = mlp()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(nn.utils, kind)(net[0])
    return net


MAKERS = {
    "plain": (mlp, "2"),
    "torch's pruning": (pruned, "2"),
    "old weight_norm": (lambda: old_norm("weight_norm"), "2"),
    "old spectral_norm": (lambda: old_norm("spectral_norm"), "2"),
    "keeps its output": (Keeping, "body.2"),
}


def stepped(make) -> nn.Module:
    """A network after a training step, by hand as a user would."""
    net = make()
    nn.functional.cross_entropy(net(DATA.inputs), DATA.labels).backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    return net


@pytest.mark.parametrize("kind", MAKERS)
def test_a_copy_computes_the_same_and_shares_nothing(kind):
    net = stepped(MAKERS[kind][0])
    with untouched(net):
        new = copy_of(net)
    net.eval(), new.eval()
    assert torch.equal(net(DATA.inputs), new(DATA.inputs))
    own = {t.data_ptr() for t in (*net.parameters(), *net.buffers())}
    assert own.isdisjoint(t.data_ptr() for t in (*new.parameters(), *new.buffers()))
    before = state(net)
    nn.functional.cross_entropy(new(DATA.inputs), DATA.labels).backward()
    torch.optim.SGD(new.parameters(), lr=0.5).step()
    assert same_state(net, before)
    assert not torch.equal(net(DATA.inputs), new(DATA.inputs))


@pytest.mark.filterwarnings("ignore::rlap.partition.DegeneratePartitionWarning")
@pytest.mark.parametrize("kind", MAKERS)
def test_robustify_takes_them_all(kind):
    make, layer = MAKERS[kind]
    net = stepped(make)
    done = rlap.robustify(net, DATA, layer=layer, rule="loss", recipe=SHORT)
    assert done.mask.holds(done.model)


def test_weights_drawn_anew_are_those_of_the_seed():
    net = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    net[1].running_mean += 1
    torch.manual_seed(3)
    expected = nn.Linear(6, 4).weight
    before = torch.random.get_rng_state()
    draw_anew(net, 3)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(net[0].weight, expected)
    assert net[1].running_mean.eq(0).all()


def test_what_is_frozen_is_not_drawn_anew():
    """As a weight that whitens, beside a bias that is trained; of a layer
    that is frozen whole, the statistics neither."""
    net = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    net[1].requires_grad_(False).running_mean += 1
    net[0].weight.requires_grad_(False)
    before = state(net)
    draw_anew(net, 3)
    same = {k for k, value in state(net).items() if torch.equal(value, before[k])}
    assert same == {"0.weight"} | {f"1.{k}" for k in net[1].state_dict()}


@pytest.mark.parametrize("kind", ["torch's pruning", "old weight_norm"])
def test_weights_that_are_computed_are_not_drawn_anew(kind):
    """reset_parameters would change what is computed, and not what it is made of."""
    with pytest.raises(TypeError, match="Linear '0' cannot draw .*: its weight is"):
        draw_anew(MAKERS[kind][0](), 0)


def test_only_what_cannot_be_copied_is_shared():
    net = stepped(Keeping)
    new = copy_of(net)
    assert new.lock is net.lock and new.both[0] is net.both[0]
    assert new.kept is not net.kept and new.both is not net.both
    (kept,) = new.kept["outputs"]
    assert torch.equal(kept, net.kept["outputs"][0]) and not kept.requires_grad
    new(DATA.inputs)
    assert len(net.kept["outputs"]) == 1
    assert new.both[1]["z"] is new.kept["outputs"][1]


def test_tied_weights_stay_tied():
    net = stepped(Keeping)
    net.body[5].bias = net.again = nn.Parameter(torch.ones(3))
    new = copy_of(net)
    assert new.again is new.body[5].bias is not net.again


def test_a_module_that_refuses_is_an_error_that_names_it():
    class Alone(nn.Linear):
        def __deepcopy__(self, memo):
            raise RuntimeError("there is only one of me")

    net = nn.Sequential(nn.Linear(2, 2), Alone(2, 2))
    with pytest.raises(RuntimeError):
        copy.deepcopy(net)
    with pytest.raises(TypeError, match="a Alone .*cannot be copied: there is only"):
        copy_of(net)
