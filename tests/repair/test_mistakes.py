"""What is told of wrong labels by networks that make mistakes themselves."""

import doctest

import pytest
import torch
from conftest import blobs, seeded
from test_diagnose import hard, trained
from torch import nn

import rlap
from rlap.repair.account import Rate
from rlap.repair.diagnosis import allowing, hidden
from rlap.repair.labels import mistakes
from rlap.repair.labels.mistakes import Halves, knowing, of_two, without_mistakes
from rlap.repair.labels.posterior import Transition
from rlap.repair.scores import Seen


def drawn(n, classes, rate, seed=0):
    """True classes (n,), and labels of which a share is any other class."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.arange(n) % classes
    step = torch.randint(1, classes, (n,), generator=generator)
    wrong = torch.rand(n, generator=generator) < rate
    return true, torch.where(wrong, (true + step) % classes, true)


def test_the_examples_run():
    result = doctest.testmod(mistakes)
    assert result.attempted >= 2 and not result.failed


@pytest.mark.parametrize("outputs", [10, 12])
@pytest.mark.parametrize("known", [0.2, 1.0])
def test_labels_beyond_the_likelier_half_tell_the_rate(known, outputs):
    """Ten classes of which a network knows the half, and of some samples the class; two
    more outputs of which there are no samples change nothing."""
    true, given = drawn(20_000, 10, 0.4)
    generator = torch.Generator().manual_seed(1)
    p = torch.rand(len(true), outputs, generator=generator) / 100
    p[:, :10] += (true[:, None] // 5 == torch.arange(10) // 5).float()
    sees = torch.rand(len(true), generator=generator) < known
    p[sees, true[sees]] += 1
    halves = Halves.of(p / p.sum(1, keepdim=True), given)
    assert halves.share == pytest.approx(0.4, abs=0.04)
    right = (p.argmax(1) == true).float().mean().item()
    assert knowing(p, given, halves) == pytest.approx(right, abs=0.04)


def test_of_few_classes_there_is_no_half():
    true, given = drawn(300, 3, 0.4)
    p = nn.functional.one_hot(true, 3).float()
    halves = Halves.of(p, given)
    assert halves.least == 0 and knowing(p, given, halves) == 1


def test_a_matrix_without_mistakes_by_hand():
    row = torch.tensor([0.4, 0.6, 0.0, 0.0])
    matrix = torch.stack([row, *torch.eye(4)[1:]])
    found = Transition(matrix, matrix, matrix)
    there = torch.tensor([True, True, True, False])
    # .2 are at random, half each of the two other classes; of .4 beyond a share trusted
    for known, beyond in ((0.1, 0.0), (0.425, 0.2), (0.55, 0.4)):
        made = without_mistakes(found, there, 0.2, known)
        first = torch.tensor([0.8 - beyond, 0.1 + beyond, 0.1, 0.0])
        assert torch.allclose(made.middle[0], first, atol=1e-6)
        assert torch.equal(made.middle[1:], matrix[1:]) and made.more is matrix


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.4])
def test_a_network_that_only_knows_the_half_finds_the_rate(rate):
    """Ten classes in two groups of five that nothing tells apart: all that a network
    sees of wrong labels inside of a group are its mistakes."""
    true, given = drawn(6000, 10, rate)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(6000, 4, generator=generator)
    x[:, 0] += 8 * (true // 5)
    net = seeded(lambda: nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 10)))
    data = rlap.Split(x, given, None, 10)
    found = rlap.diagnose(trained(data, net), data).label_rate
    assert found.value == pytest.approx(rate, abs=0.05)
    assert found.low <= rate <= found.high


def test_a_network_at_chance_on_new_samples_knows_its_labels_by_heart():
    """Two classes, 40 % of the labels wrong: it fits a part of them, and that is all
    that it knows of the rest."""
    n, m = 400, 200
    generator = torch.Generator().manual_seed(0)
    given = torch.arange(n + m) % 2
    fits = torch.rand(n + m, generator=generator) < 0.5
    fits[:n] = torch.rand(n, generator=generator) < 0.65
    guess = torch.where(fits, given, 1 - given)
    p = nn.functional.one_hot(guess, 2).float() * 0.8 + 0.1
    rows = [
        Seen(p[i], p[i], torch.zeros(len(p[i]), 5), given[i], [])
        for i in (slice(0, n), slice(n, n + m))
    ]
    assert 0.6 < rows[0].accuracy < 0.7 and rows[1].accuracy < 0.56
    net, given_, held, _ = hard(300, epochs=1)
    found = rlap.diagnose(net, given_, holdout=held)
    assert hidden(found, *rows, torch.ones(m))


def test_what_may_not_show_shows_on_the_slice():
    """Of the labels of the data .95 are fitted, of the slice's .7: as many wrong labels
    as the slice allows may look right."""
    p = torch.tensor([0.9, 0.1]).repeat(200, 1)
    rows = []
    for n, share in ((200, 0.95), (100, 0.7)):
        labels = (torch.arange(n) >= share * n).long()
        rows.append(Seen(p[:n], p[:n], torch.zeros(n, 5), labels, []))
    rate = allowing(Rate(0.02, 0.0, 0.05), *rows, torch.ones(100))
    assert rate[:2] == (0.02, 0.0) and rate.high > 0.3
    same = allowing(Rate(0.02, 0.0, 0.05), rows[1], rows[1], torch.ones(100))
    assert same.high == 0.05


def test_of_two_classes_nobody_can_tell_beyond_the_half():
    given = torch.tensor([0] * 30 + [1] * 70)
    matrix = torch.tensor([[0.6, 0.4], [0.0, 1.0]])
    share, notes = of_two(matrix, given)
    assert share == pytest.approx(0.3)
    assert "Of class 0 about 40% seem to be labelled 1" in notes[0]
    assert of_two(torch.eye(2), given) == (0.0, [])
    assert of_two(torch.tensor([[0.6, 0.4], [0.4, 0.6]]), given)[0] == 0.5
    assert of_two(torch.tensor([[0.6, 0.4, 0], [0, 1, 0], [0, 0, 1]]), given)[1]
    three = torch.arange(90) % 3
    assert of_two(torch.full((3, 3), 1 / 3), three) == (0.0, [])


def test_two_classes_with_nearly_half_of_one_mislabelled():
    data = blobs(1200)
    data = data.subset(data.labels < 2)
    generator = torch.Generator().manual_seed(0)
    wrong = (torch.rand(len(data), generator=generator) < 0.48) & (data.labels == 0)
    spoilt = rlap.Split(data.inputs, torch.where(wrong, 1, data.labels), None, 2)
    net = seeded(lambda: nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 2)))
    found = rlap.diagnose(trained(spoilt, net), spoilt)
    rate = wrong.float().mean().item()
    assert found.label_rate.low <= rate <= found.label_rate.high
    assert "Of two classes nobody can tell" in found.report()
