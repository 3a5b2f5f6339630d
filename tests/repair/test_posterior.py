"""Matrices small enough to be worked out by hand."""

import pytest
import torch

from rlap.repair.labels.posterior import (
    anchor_rates,
    anchors,
    bayes,
    confident_joint,
    labels_of_surest,
    mislabelled,
    posterior,
    transition,
    unmix,
)

T = torch.tensor([[0.75, 0.25], [0.0, 1.0]])


def test_confident_joint_by_hand():
    p = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.85, 0.15], [0.4, 0.6]])
    given = torch.tensor([0, 0, 1, 1, 1])
    # mean own confidence: (.9 + .7) / 2 = .8 and (.8 + .15 + .6) / 3 = .517
    assert confident_joint(p, given).tolist() == [[1, 1], [0, 2]]


def test_a_class_that_nobody_was_given_is_nobody():
    p = torch.tensor([[0.2, 0.0, 0.8], [0.2, 0.7, 0.1]])
    joint = confident_joint(p, torch.tensor([0, 1]))
    assert joint.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_anchors_are_the_surest():
    p = torch.stack([torch.linspace(1, 0, 100), torch.linspace(0, 1, 100)], 1)
    given = (torch.arange(100) >= 50).long()
    given[:10] = 1  # 10 of the 20 surest of class 0
    given[40:50] = 1  # of no consequence
    assert anchor_rates(p, given).tolist() == [0.5, 0.0]


def test_a_class_without_wrong_labels_at_its_anchors_is_left_alone():
    sure = torch.cat([torch.linspace(0.95, 0.85, 100), torch.full((100,), 0.1)])
    p = torch.stack([sure, 1 - sure], 1)
    given = torch.arange(200) // 100
    given[50:70] = 1  # none of the 20 surest of class 0
    assert torch.equal(transition(p, given).middle, torch.eye(2))
    given = torch.arange(200) // 100
    given[:100:5] = 1  # 4 of the 20 surest
    matrix = transition(p, given).middle
    assert matrix[0, 1] == pytest.approx(0.2, abs=0.05)
    assert torch.equal(matrix[1], torch.tensor([0.0, 1.0]))


def test_a_class_that_is_not_surely_mislabelled_keeps_the_few_its_anchors_show():
    """Class 0: 40 of 100 anchors have other labels; class 1: 2 of 100; class 2: none.
    Were class 0 right, so would class 1 be."""
    p = torch.eye(3).repeat_interleave(1000, 0) * 0.6 + 0.4 / 3
    p[::10] += 0.1 * torch.eye(3).repeat_interleave(100, 0)  # the anchors
    given = torch.arange(3).repeat_interleave(1000)
    few = given.clone()
    few[1000:1020:10] = 2
    assert torch.equal(transition(p, few).middle, torch.eye(3))
    many = few.clone()
    many[0:400:10] = 1
    found = transition(p, many).middle
    assert found[0, 1] > 0.1
    assert 0 < found[1, 2] <= 0.02 and found[1, 2] > found[1, 0]
    assert torch.equal(found[2], torch.eye(3)[2])


def test_unmixing_undoes_the_mixing():
    q = torch.tensor([[0.6, 0.4], [0.1, 0.9], [1.0, 0.0]])
    assert torch.allclose(unmix(q @ T, T, steps=300), q, atol=1e-2)


def test_one_step_of_em_by_hand():
    p = torch.tensor([[0.6, 0.4]])
    mixed = [0.6 * 0.75, 0.6 * 0.25 + 0.4]  # (q T)
    ratio = [0.6 / mixed[0], 0.4 / mixed[1]]
    q = [0.6 * (0.75 * ratio[0] + 0.25 * ratio[1]), 0.4 * ratio[1]]
    assert unmix(p, T, steps=1)[0].tolist() == pytest.approx(q, abs=1e-6)
    assert sum(q) == pytest.approx(1)


def test_unmixing_does_not_go_below_what_labels_can_show():
    # more of label 0 than any class gives: all of class 0
    assert unmix(torch.tensor([[0.95, 0.05]]), T, steps=300)[0, 0] > 0.99


def test_posterior_by_hand():
    q, given = torch.tensor([[0.6, 0.4]]), torch.tensor([1])
    p = q @ T
    found = posterior(p, T, given)
    undone = unmix(p, T)[0]
    ours = undone * T[:, 1]
    assert torch.allclose(found[0], ours / ours.sum())
    # class 1 never gets label 0
    assert posterior(p, T, torch.tensor([0])).tolist() == [[1.0, 0.0]]


def test_the_surest_of_a_class_say_what_it_is_taken_for():
    """Class 0 is taken for 1; the network mixes up 0 and 2 where it is unsure."""
    sure = torch.tensor([[0.9, 0.05, 0.05]]).repeat(100, 1)
    unsure = torch.tensor([[0.5, 0.05, 0.45]]).repeat(100, 1)
    rest = torch.tensor([[0.05, 0.9, 0.05], [0.05, 0.05, 0.9]]).repeat(100, 1)
    p = torch.cat([sure, unsure, rest])
    given = torch.cat([
        (torch.arange(100) % 5 == 0).long(),  # a fifth of the sure ones: label 1
        torch.where(torch.arange(100) % 2 == 0, 2, 0),  # half of the unsure: label 2
        torch.arange(200) % 2 + 1,
    ])  # fmt: skip
    counts = labels_of_surest(p, given, share=0.4)
    size = round(0.4 * int((given == 0).sum()))
    assert counts[0].sum() == size and counts[0, 2] == 0 and counts[0, 1] > size / 10
    found = transition(p, given).middle
    assert found[0, 1] > 0.15 > 0.02 > found[0, 2]
    assert torch.equal(found[1:], torch.eye(3)[1:])


def test_bayes_rule_by_hand():
    q, given = torch.tensor([[0.6, 0.4]]), torch.tensor([1])
    joint = [0.6 * 0.25, 0.4 * 1.0]
    expected = [j / sum(joint) for j in joint]
    assert bayes(q, T, given)[0].tolist() == pytest.approx(expected)
    # of the label's probabilities the mixing is undone first
    assert torch.equal(posterior(q @ T, T, given), bayes(unmix(q @ T, T), T, given))


def test_a_label_that_no_class_gets_stands():
    matrix = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    found = posterior(torch.tensor([[0.5, 0.5]]), matrix, torch.tensor([1]))
    assert found.tolist() == [[0.0, 1.0]]


def test_nothing_is_mixed_where_nothing_is_mislabelled():
    p = torch.rand(9, 3).softmax(1)
    assert torch.allclose(unmix(p, torch.eye(3)), p)
    given = torch.arange(9) % 3
    found = posterior(p, torch.eye(3), given)
    assert torch.allclose(found, torch.nn.functional.one_hot(given, 3).float())


def test_mistakes_that_end_towards_the_surest_are_no_wrong_labels():
    """Of 200 samples a class the surest hundredths are right, 16 of the 20 surest
    not: a hard class. Spread evenly, the same number are wrong labels."""
    sure = torch.linspace(0.99, 0.6, 200)
    p = torch.cat([torch.stack([sure, 1 - sure], 1), torch.stack([1 - sure, sure], 1)])
    given = torch.arange(400) // 200
    hard = given.clone()
    hard[5:13], hard[205:213] = 1, 0
    assert anchors(p, hard)[0].tolist() == [8, 8]
    assert anchors(p, hard, share=0.02, fewest=5)[0].tolist() == [0, 0]
    assert torch.equal(transition(p, hard).middle, torch.eye(2))
    even = given.clone()
    even[0:20:2], even[200:220:2] = 1, 0
    assert anchor_rates(p, even).tolist() == [0.5, 0.5]


def test_the_hardest_class_of_clean_labels_is_not_called_mislabelled():
    """Of 400 anchors eight have other labels, all of one class: 8 of 100."""
    rates = torch.tensor([0.08, 0.0, 0.0, 0.0])
    p = torch.eye(4).repeat_interleave(1000, 0)
    p = p * 0.6 + 0.1
    given = torch.arange(4).repeat_interleave(1000)
    assert anchors(p, given)[1].tolist() == [100] * 4
    assert not mislabelled(p, given, rates).any()
    assert mislabelled(p, given, torch.tensor([0.4, 0, 0, 0])).tolist()[0]
    # where all have as many, they are wrong labels
    assert mislabelled(p, given, torch.full((4,), 0.08)).all()
