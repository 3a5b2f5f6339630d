"""Data and networks in every form that people have them in."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import blobs, pictures, seeded
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import rlap
from rlap.repair import samples
from rlap.repair.samples import Logits, Samples

DATA = blobs(20)


class Named(Dataset):
    """(input, label, id), and a transform that draws."""

    def __len__(self):
        return 20

    def __getitem__(self, i):
        return DATA.inputs[i] + 0 * torch.rand(()), int(DATA.labels[i]), f"clip {i}"


FORMS = {
    "split": DATA,
    "tensors": (DATA.inputs, DATA.labels),
    "arrays": (DATA.inputs.numpy(), DATA.labels.numpy()),
    "dataset": TensorDataset(DATA.inputs, DATA.labels),
    "named": Named(),
    "list of rows": list(zip(DATA.inputs, DATA.labels, strict=True)),
    "with ids": (DATA.inputs, DATA.labels, [f"clip {i}" for i in range(20)]),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same(form):
    before = torch.get_rng_state()
    split, ids = Samples(FORMS[form]).read()
    assert torch.equal(split.inputs, DATA.inputs)
    assert torch.equal(split.labels, DATA.labels)
    named = form in ("named", "with ids")
    assert ids == ([f"clip {i}" for i in range(20)] if named else list(range(20)))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("form", FORMS)
def test_rows_in_their_order(form):
    split, ids = Samples(FORMS[form]).read([7, 2])
    assert torch.equal(split.inputs, DATA.inputs[[7, 2]])
    assert ids in ([7, 2], ["clip 7", "clip 2"])


@pytest.mark.parametrize("kept", [2**29, 10], ids=["kept", "read anew"])
@pytest.mark.parametrize("form", FORMS)
def test_inputs_that_are_read_when_they_are_asked_for(form, kept, monkeypatch):
    monkeypatch.setattr(samples, "KEPT", kept)
    before = torch.get_rng_state()
    data = Samples(FORMS[form])
    split, ids = data.split()
    assert isinstance(split.inputs, torch.Tensor) == (not data._stored and kept > 10)
    assert bool(data.notes) == (not data._stored and kept == 10)
    assert torch.equal(split.labels, DATA.labels) and ids == data.read()[1]
    odd = torch.arange(20) % 2 == 1
    for mine, theirs in (
        (split, DATA),
        (split.subset(odd), DATA.subset(odd)),
        (split.subset(odd).subset([4, 0]), DATA.subset([9, 1])),
        (split.subset(odd).to("cpu"), DATA.subset(odd)),
    ):
        assert torch.equal(mine.labels, theirs.labels)
        assert mine.inputs.shape == theirs.inputs.shape
        assert torch.equal(torch.cat(list(mine.inputs.split(3))), theirs.inputs)
        assert torch.equal(mine.at(torch.tensor([1, 0])), theirs.inputs[[1, 0]])
        assert torch.equal(mine.inputs[-1], theirs.inputs[-1])
        assert torch.equal(torch.cat([b.inputs for b in Samples(mine).batches(size=3)]),
                           theirs.inputs)  # fmt: skip
    assert torch.equal(before, torch.get_rng_state())


def test_transforms_of_what_is_read_anew_draw_anew(monkeypatch):
    monkeypatch.setattr(samples, "KEPT", 10)

    class Noisy(Named):
        def __getitem__(self, i):
            return DATA.inputs[i] + torch.rand(()), int(DATA.labels[i])

    first, second = (Samples(Noisy()).split()[0].inputs for _ in range(2))
    one, two = first[:3], first[:3]
    assert not torch.equal(one, two)
    assert torch.equal(one, second[:3]) and torch.equal(two, second[:3])


def test_columns_of_pandas_are_read_by_their_place():
    """A shuffled index names rows; a number in brackets would be one of its names."""
    pandas = pytest.importorskip("pandas")
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0)).numpy()
    frame = pandas.DataFrame(DATA.inputs.numpy(), index=order)
    labels = pandas.Series(DATA.labels.numpy(), index=order)
    for rows in (None, [7, 2]):
        split, _ = Samples((frame, labels, labels.index)).read(rows)
        there = slice(None) if rows is None else rows
        assert torch.equal(split.inputs, DATA.inputs[there])
        assert torch.equal(split.labels, DATA.labels[there])


def test_memory_mapped_bytes_are_read_a_batch_at_a_time(tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.arange(7 * 12, dtype=np.uint8).reshape(7, 3, 2, 2))
    mapped = np.load(path, mmap_mode="r")
    batches = list(Samples((mapped, np.arange(7))).batches(size=3))
    assert [len(batch.labels) for batch in batches] == [3, 3, 1]
    assert batches[0].inputs.dtype == torch.float32
    assert batches[0].inputs.flatten()[5] == 5 / 255
    twice = Samples((mapped, np.arange(7)), prepare=lambda x: x.float() * 2)
    assert next(twice.batches()).inputs.flatten()[5] == 10


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (DataLoader(TensorDataset(DATA.inputs, DATA.labels)), TypeError, "dataset"),
        (DATA.inputs, TypeError, "a pair"),
        ((DATA.inputs, DATA.labels[:3]), ValueError, "length"),
        ((DATA.inputs[:0], DATA.labels[:0]), ValueError, "no samples in the holdout"),
        ((DATA.inputs.long(), DATA.labels), TypeError, "floating"),
        ([("x", 0)] * 9, TypeError, "not str: give the data set a transform"),
        ([{"image": 0, "label": 1}] * 9, TypeError, "mappings of 'image', 'label'"),
        ([DATA.inputs[0]] * 9, TypeError, "each row .* not a Tensor"),
        ({"x": DATA.inputs, "y": DATA.labels}, TypeError, "not a dict"),
        ("val", TypeError, "the holdout must be an rlap.Split"),
        ((DATA.inputs, DATA.labels[:, None]), ValueError, r"give labels\[:, 0\]"),
        ((DATA.inputs, torch.eye(3)[DATA.labels]), ValueError, "rows of 3: .*argmax"),
        ((DATA.inputs, DATA.labels.double()), TypeError, "labels of the holdout must"),
        ((DATA.inputs.numpy() * 1j, DATA.labels), TypeError, "real numbers"),
    ],
)
def test_what_cannot_be_read(data, error, says):
    with pytest.raises(error, match=says):
        list(Samples(data, name="holdout").batches())


def test_logits_wherever_the_network_puts_them():
    x = torch.rand(4, 6)
    net = nn.Linear(6, 3)

    class Answering(nn.Module):
        def __init__(self, how):
            super().__init__()
            self.net, self.how = net, how

        def forward(self, x):
            return self.how(self.net(x))

    for how, output in (
        (lambda z: z, None),
        (lambda z: {"logits": z, "loss": None}, None),
        (lambda z: SimpleNamespace(logits=z), None),
        (lambda z: (z, 1), lambda both: both[0]),
    ):
        assert torch.equal(Logits(Answering(how), output)(x), net(x))
    with pytest.raises(TypeError, match="logits"):
        rlap.predict(Logits(Answering(lambda z: {"scores": z})), x)


def test_images_keep_their_shape():
    data = pictures()
    assert next(Samples(data).batches(size=5)).inputs.shape == (5, 2, 8, 8)


def test_what_of_a_split_is_not_used_is_said():
    data, held = blobs(300), blobs(200, seed=5)
    weighted = replace(data, weights=torch.ones(300), num_classes=3)
    soft = replace(held, targets=torch.eye(3)[held.labels], num_classes=3)
    said = ["The targets of the holdout are not used.",
            "The weights of the data are not used."]  # fmt: skip
    net = seeded(lambda: nn.Linear(6, 3))
    found = rlap.diagnose(net, weighted, holdout=soft)
    assert [note for note in found.notes if "not used" in note] == said
    few = rlap.Recipe(epochs=1, batch_size=32)
    mended = rlap.repair(net, weighted, holdout=soft, recipe=few, trainings=1)
    assert mended.notes[:2] == said[::-1]
    assert "not used" not in rlap.diagnose(net, data, holdout=held).report()
