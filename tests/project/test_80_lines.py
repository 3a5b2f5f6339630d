"""The method in 80 lines and the package find the same."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from conftest import blobs, seeded
from torch import nn

import rlap

ROOT = Path(__file__).parents[2]
FILE = ROOT / "examples" / "rlap_in_80_lines.py"


@pytest.fixture(scope="module")
def short():
    spec = importlib.util.spec_from_file_location("rlap_in_80_lines", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trained(seed: int) -> tuple[nn.Sequential, rlap.Split]:
    """A network fitted to Gaussian classes of which a third is blurred."""
    made = rlap.corrupt(
        blobs(300, seed=seed), kind="gaussian", rate=0.33, level=4.0, seed=seed
    )

    def build() -> nn.Sequential:
        backbone = nn.Sequential(nn.Linear(6, 12), nn.ReLU())
        return nn.Sequential(backbone, nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 3))

    net = seeded(build, seed)
    rlap.train(net, made.split, rlap.Recipe(epochs=5, batch_size=32, lr=0.02))
    return net, made.split


@pytest.mark.filterwarnings("ignore::rlap.partition.DegeneratePartitionWarning")
@pytest.mark.parametrize("seed", range(4))
def test_the_same_partition_units_and_mask(short, seed):
    net, split = trained(seed)
    ours = rlap.robustify(net, split, layer="1", amount=3, start="kmeans")
    torch.manual_seed(seed)
    found, units = short.rlap(net[0], net[1], net[3], split.inputs, split.labels, 3)
    assert 0 < int(found.sum()) < 300
    assert torch.equal(found, ours.partition.high_quality)
    assert torch.equal(units.sort().values, ours.mask.units)
    assert ours.mask.holds(net) and ours.mask.holds(ours.model)
    assert net[1].weight.any(1).sum() == 10 - 3
    # the order of the batches differs, the method does not: both learn
    for model in (net, ours.model):
        kept = split.subset(found)
        assert rlap.evaluate(model, kept).accuracy > 0.9


def test_it_is_short_and_shown_whole():
    assert len(FILE.read_text(encoding="utf-8").splitlines()) <= 80
    chapter = (ROOT / "book" / "method.md").read_text(encoding="utf-8")
    assert "```{literalinclude} ../examples/rlap_in_80_lines.py" in chapter
