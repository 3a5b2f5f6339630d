"""Objects that hold tensors show themselves in a line, not in pages of numbers."""

from dataclasses import fields, is_dataclass

import pytest
import torch

import rlap
from rlap import unlearning
from rlap.wording import brief, in_brief

LARGE = ("Tensor", "Split", "nn.Module", "list[float]")


def public_classes() -> list[type]:
    public = [getattr(room, n) for room in (rlap, unlearning) for n in room.__all__]
    kinds = {c for c in public if isinstance(c, type) and is_dataclass(c)}
    return sorted(kinds, key=lambda c: c.__name__)


def large(kind: type) -> bool:
    """Whether a field of this class may hold many numbers."""
    kinds = [str(f.type) for f in fields(kind) if "Callable" not in str(f.type)]
    return any(word in k and "type[" not in k for k in kinds for word in LARGE)


@pytest.mark.parametrize("kind", [c for c in public_classes() if large(c)])
def test_classes_that_hold_many_numbers_say_it_in_brief(kind):
    assert "__repr__" in vars(kind)
    own = vars(kind)["__repr__"]
    # the one that dataclass makes is wrapped, against objects that hold themselves
    assert own is in_brief or not hasattr(own, "__wrapped__")


def test_a_split_and_what_is_made_of_it_take_a_line():
    split = rlap.Split(torch.rand(300, 12), torch.arange(300) % 3)
    noisy = rlap.corrupt(split, kind="gaussian", rate=0.5, level=1, seed=0, redraw=True)
    model = torch.nn.Sequential(torch.nn.Linear(12, 8), torch.nn.ReLU())
    model.append(torch.nn.Linear(8, 3))
    short = rlap.Recipe(epochs=12)
    made = rlap.robustify(model, split, layer="0", recipe=short)
    history = rlap.train(model, split, short)
    told = [split, noisy, noisy.split, made, made.mask, made.partition, history]
    for each in told:
        text = repr(each)
        assert len(text) < 1500 and "\n" not in text and "tensor(" not in text
        assert text.startswith(type(each).__name__)
    assert repr(split) == (
        "Split(inputs=float32 (300, 12), labels=int64 (300,), num_classes=3)"
    )


def test_what_is_short_is_told_whole():
    assert brief([1, 2.5, "three"]) == "[1, 2.5, 'three']"
    assert brief((0.25, 1e-9)) == "(0.25, 1e-09)"
    assert brief({"finetune": [1] * 7}) == "{'finetune': [1, ..., 1] (7)}"
    assert brief(None) == "None"
