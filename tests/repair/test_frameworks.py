"""Networks that were trained by skorch or Lightning; skipped where they are missing."""

import pytest
import torch
from conftest import blobs
from test_diagnose import flipped
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import rlap

RECIPE = rlap.Recipe(epochs=4, batch_size=32, lr=0.02)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def data():
    whole, _ = flipped(blobs(1200), "asymmetric", 0.45)
    return whole.subset(range(900)), whole.subset(range(900, 1200)), blobs(600, seed=7)


def test_a_skorch_network_is_repaired_in_two_lines():
    skorch = pytest.importorskip("skorch")
    given, held, test = data()
    X, y = given.inputs.numpy(), given.labels.numpy()
    net = skorch.NeuralNetClassifier(
        network(), criterion=nn.CrossEntropyLoss, max_epochs=2, lr=0.01, verbose=0
    )
    net.fit(X, y)
    before = net.score(test.inputs.numpy(), test.labels.numpy())
    pair = held.inputs.numpy(), held.labels.numpy()
    found = rlap.repair(net.module_, (X, y), holdout=pair, recipe=RECIPE)
    net.module_ = found.model
    assert net.score(test.inputs.numpy(), test.labels.numpy()) > before


def test_a_lightning_module_comes_back_as_what_it_is():
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, _):
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def validation_step(self, batch, _):
            self.log("loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.01)

    given, held, test = data()
    loader, held_loader = (
        DataLoader(TensorDataset(s.inputs, s.labels), batch_size=32)
        for s in (given, held)
    )
    quiet = {"logger": False, "enable_checkpointing": False, "accelerator": "cpu",
             "enable_progress_bar": False, "enable_model_summary": False}  # fmt: skip
    trainer, module = lightning.Trainer(max_epochs=1, **quiet), Module()
    trainer.fit(module, loader)
    found = rlap.repair(
        module, loader.dataset, holdout=held_loader.dataset, recipe=RECIPE
    )
    assert type(found.model) is Module and found.model is not module
    before, after = (rlap.training.accuracy(m, test) for m in (module, found.model))
    assert after > before
    assert trainer.validate(found.model, held_loader, verbose=False)[0]["loss"] > 0
