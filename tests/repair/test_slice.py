"""How networks are compared on a slice whose labels are as bad as the rest."""

from types import SimpleNamespace

import pytest
import torch

from rlap.repair.scores import paired
from rlap.repair.slice import INVERTIBLE, Slice, undone


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(true, matrix, seed=0):
    """Labels (M,) of classes ``true`` (M,) by P(given | true)."""
    found = torch.multinomial(matrix[true], 1, generator=generator(seed))
    return found.squeeze(1)


def slice_with(labels, matrix, good=None):
    good = torch.ones(len(labels), dtype=torch.bool) if good is None else good
    return Slice(SimpleNamespace(labels=labels), good, undone(matrix))


UNEVEN = torch.tensor([[0.6, 0.3, 0.1], [0.0, 0.9, 0.1], [0.2, 0.2, 0.6]])


def test_by_hand_of_two_classes():
    """inv([[.75, .25], [.25, .75]]) is [[1.5, -.5], [-.5, 1.5]]."""
    matrix = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
    right = slice_with(torch.tensor([0, 0, 1, 1]), matrix).of_predicted(
        torch.tensor([0, 1, 1, 1])
    )
    assert right.labelled.tolist() == [1, 0, 1, 1]
    torch.testing.assert_close(right.true, torch.tensor([1.5, -0.5, 1.5, 1.5]))
    assert right.accuracy == pytest.approx(1.0)


MANY = 60_000
TRUE = torch.randint(3, (MANY,), generator=generator(1))


def test_the_accuracy_by_true_classes_is_estimated_without_them():
    right = torch.rand(MANY, generator=generator(2)) < 0.7
    predicted = torch.where(right, TRUE, (TRUE + 1) % 3)
    held = slice_with(drawn(TRUE, UNEVEN), UNEVEN)
    found = held.of_predicted(predicted)
    assert found.accuracy == pytest.approx(right.float().mean().item(), abs=0.01)
    assert found.labelled.mean() < 0.6


def test_who_learnt_the_wrong_labels_is_not_preferred():
    """Of two networks as good in truth, one errs as the labels do."""
    alike = drawn(TRUE, UNEVEN, seed=3)
    wrong = alike != TRUE
    other_way = torch.where(wrong, 3 - alike - TRUE, TRUE)  # the third class
    held = slice_with(drawn(TRUE, UNEVEN), UNEVEN)
    one, other = held.of_predicted(alike), held.of_predicted(other_way)
    assert paired(one.labelled - other.labelled) > 5
    assert abs(paired(one.true - other.true)) < 3


def test_bad_inputs_count_nothing():
    matrix = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    labels, good = torch.tensor([0, 1, 1]), torch.tensor([True, True, False])
    held = slice_with(labels, matrix, good)
    one, other = (held.of_predicted(torch.tensor([0, 1, c])) for c in (0, 1))
    assert torch.equal(one.true, other.true) and one.true[2] == 0
    inverse = torch.linalg.inv(matrix)
    expected = (inverse[0, 0] + inverse[1, 1]).item() / 2  # of the two that count
    assert one.accuracy == pytest.approx(expected)


@pytest.mark.parametrize("rate", [0.4, 0.5, 0.6])
def test_what_can_hardly_be_inverted_is_moved_towards_the_identity(rate):
    """Of [[1 - r, r], [r, 1 - r]] the singular values are 1 and |1 - 2 r|."""
    mixed = torch.tensor([[1 - rate, rate], [rate, 1 - rate]])
    found = torch.linalg.inv(undone(mixed))
    smallest = torch.linalg.svdvals(found).min().item()
    assert INVERTIBLE <= smallest + 1e-6 < INVERTIBLE + 0.02
    torch.testing.assert_close(found.sum(1), torch.ones(2))
    assert found[0, 0] > found[0, 1]


def test_what_can_be_inverted_is():
    torch.testing.assert_close(undone(UNEVEN) @ UNEVEN, torch.eye(3))


def test_labels_that_are_right_are_taken_as_they_are():
    held = slice_with(torch.tensor([0, 1, 2]), torch.eye(3))
    right = held.of_predicted(torch.tensor([0, 1, 1]))
    assert torch.equal(right.true, right.labelled)
