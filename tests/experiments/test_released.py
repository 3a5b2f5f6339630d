"""The public code's mistakes, each by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conftest import convnet, pictures, same_state, state
from torch import nn

from rlap.experiments import released
from rlap.finetuning import finetune
from rlap.training.loop import train
from rlap.training.recipe import Recipe

PLAIN = Recipe(epochs=3, batch_size=8, lr=0.05, schedule="constant", precision="fp32")
STATISTICS = ("bn.running_mean", "bn.running_var", "bn.num_batches_tracked")


def test_retraining_is_in_train_mode_in_its_first_epoch_alone():
    """Then in eval mode, no dropout either, and BatchNorm stands still."""
    net, modes, means = convnet(), [], []

    def look(module, args):
        if torch.is_grad_enabled():  # a step, not the look at the memory layout
            modes.append((net.bn.training, net.drop.training, module.training))
            means.append(net.bn.running_mean.clone())

    net.fc.register_forward_pre_hook(look)
    hook = {"on_epoch": released.eval_after_first}
    train(net, pictures(), PLAIN, **hook)  # 24 samples: 3 batches
    assert modes == [(True,) * 3] * 3 + [(False,) * 3] * 6
    assert not torch.equal(means[0], means[2])  # the first pass moved it already
    assert all(torch.equal(mean, means[2]) for mean in means[3:])
    # one epoch is as usual, and all parameters go on moving in the others
    once, usual = convnet(), convnet()
    one = replace(PLAIN, epochs=1)
    train(once, pictures(), one, **hook)
    train(usual, pictures(), one)
    assert same_state(once, state(usual))
    for name, parameter in net.named_parameters():
        assert not torch.equal(parameter, once.get_parameter(name)), name


@pytest.mark.parametrize(("hook", "moves"), [(None, False), ("hook", True)])
def test_statistics_of_a_frozen_backbone_move(hook, moves):
    net = convnet()
    before = state(net)
    hook = released.moving_statistics if hook else None
    finetune(net, pictures(), layer="fc", recipe=PLAIN, on_epoch=hook)
    for name in STATISTICS:
        assert torch.equal(net.state_dict()[name], before[name]) != moves, name
    assert torch.equal(net.conv.weight, before["conv.weight"])
    assert not torch.equal(net.fc.weight, before["fc.weight"])


def test_every_kind_of_batchnorm_moves_and_dropout_does_not():
    net = nn.Sequential(nn.BatchNorm1d(3), nn.SyncBatchNorm(3), nn.Dropout()).eval()
    released.moving_statistics(net, 0)
    assert [module.training for module in net] == [True, True, False]


def test_shared_networks_tell_the_modes_apart(tmp_path):
    """What was trained with a mistake is not taken for what was trained without."""
    for i, hook in enumerate((None, released.eval_after_first), 1):
        history = train(
            convnet(), pictures(), PLAIN, on_epoch=hook, checkpoint=tmp_path
        )
        assert history.resumed == 0 and len(list(tmp_path.iterdir())) == i
    again = train(convnet(), pictures(), PLAIN, on_epoch=hook, checkpoint=tmp_path)
    assert again.resumed == 3


def test_the_target_is_looked_up_by_class_and_rivals_prune_one_less():
    low = torch.tensor([True, False, True, False])
    labels = torch.tensor([1, 0, 0, 3])
    target = released.target_by_class(low, labels)
    assert target.tolist() == [False, True, True, False]
    assert released.rival_pruning(40) == (39, True)
