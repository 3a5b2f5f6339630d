"""Networks of recorded runs: packed, read again, and refused when not as packed."""

from __future__ import annotations

import json
import zipfile

import pytest
import torch
from conftest import change_packed as change
from conftest import same_state, state

import rlap
from rlap import models
from rlap.experiments.forgetting import packing
from rlap.experiments.parameters import (
    RelevanceParameters,
    RivalsParameters,
    SoftPruningParameters,
)
from rlap.models.packed import INDEX, Packing
from rlap.training.loop import History
from rlap.unlearning.common.statistics import weight_digest
from rlap.unlearning.methods.orthogonality import KernelOrthogonality
from rlap_command import main

NAME = "cifar10/small/cat"
ROLES = ("original", "retrained", "retrained again")


def nets(first: int = 0) -> dict[str, torch.nn.Module]:
    images = torch.rand(20, 3, 32, 32, generator=torch.Generator().manual_seed(first))
    return {
        role: models.build("small", 10, seed=first + i, whiten=images)
        for i, role in enumerate(ROLES)
    }


@pytest.fixture(params=["folder", "pack.zip"])
def packed(request, tmp_path):
    """A pack of two classes that share their original, as a folder and as a file."""
    made, place = Packing(), tmp_path / request.param
    made.add(NAME, 3, "small", nets())
    made.add(
        "cifar10/small/dog", 3, "small", {**nets(5), "original": nets()["original"]}
    )
    made.write(place)
    return place


def files(place) -> list[str]:
    if place.is_dir():
        return sorted(p.name for p in place.iterdir())
    with zipfile.ZipFile(place) as archive:
        return sorted(archive.namelist())


def test_what_is_packed_comes_back(packed):
    found = rlap.load_networks(NAME, seed=3, source=packed)
    assert list(found) == list(ROLES)
    x = torch.rand(4, 3, 32, 32)
    for role, net in nets().items():
        new = found[role]
        assert same_state(new, state(net)) and not new.training
        assert torch.equal(new(x), net.eval()(x))
        frozen = [k for k, p in new.named_parameters() if not p.requires_grad]
        assert frozen == ["whiten.weight"]
    assert len(files(packed)) == 1 + 5  # the original of both is there once


def test_what_is_not_there_is_told(packed, tmp_path, monkeypatch):
    for name, seed, error, message in (
        ("cifar10/small/cow", 3, KeyError, "did you mean 'cifar10/small/"),
        (NAME, 0, KeyError, "holds the seeds 3, not 0"),
        (NAME, -1, ValueError, "seed must be at least 0"),
    ):
        with pytest.raises(error, match=message):
            rlap.load_networks(name, seed=seed, source=packed)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="is no pack of networks"):
        rlap.load_networks(NAME, source=tmp_path / "empty")
    monkeypatch.setenv("RLAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RLAP_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="no release holds them yet"):
        rlap.load_networks(NAME)
    (tmp_path / "cache").mkdir()
    packed.rename(tmp_path / "cache" / f"networks{packed.suffix}")
    assert list(rlap.load_networks(NAME, seed=3)) == list(ROLES)
    with pytest.raises(FileExistsError, match="take another place"):
        Packing().write(tmp_path / "empty")


def test_what_was_changed_is_refused(packed):
    file = next(n for n in files(packed) if n.startswith("small-"))
    with_seed = {"seed": 3, "source": packed}
    names = (NAME, "cifar10/small/dog")

    def refused(message: str) -> None:
        with pytest.raises(ValueError, match=message):
            [rlap.load_networks(name, **with_seed) for name in names]

    change(packed, file, lambda b: b[:-4] + bytes(4 * [b[-1] ^ 1]))
    refused("is not as it was packed")
    from rlap.files.digests import sha256

    content = models.packed.Pack(packed).read(file)

    def vouched(text: bytes) -> bytes:  # even where the index is changed as well
        index = json.loads(text)
        index["files"][file]["sha256"] = sha256(content)
        return json.dumps(index).encode()

    change(packed, INDEX, vouched)
    refused("holds other weights than recorded")
    change(packed, INDEX, lambda text: text.replace(b'"small-', b'"../small-'))
    refused("no name of a file in it")
    change(packed, INDEX, lambda text: b"[]")
    refused("is no pack of networks of the format")


def test_the_same_pack_has_the_same_bytes(tmp_path):
    for name in ("one.zip", "other.zip"):
        made = Packing()
        made.add(NAME, 3, "small", nets())
        made.write(tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()


def record(notebook: str, run, **more) -> dict:
    return {"notebook": notebook, "seed": run.seed, "parameters": run.identity(),
            "data": {"name": "cifar10", "stand_in": False}, **more}  # fmt: skip


@pytest.fixture
def trained(monkeypatch):
    """Networks as if trained: by seed and class."""
    monkeypatch.setattr(
        packing, "networks", lambda run: (nets(100 * run.seed + run.label), {})
    )


def test_recorded_runs_are_packed(trained, tmp_path):
    given = {"tier": "small", "forget": "cat", "seed": 3}
    rivals, relevance = (
        kind(**given).resolved() for kind in (RivalsParameters, RelevanceParameters)
    )
    known = {role: weight_digest(net) for role, net in nets(303).items()}
    found = [record("03_relevance", relevance),
             record("07_rivals", rivals, networks=known)]  # fmt: skip
    told = []
    place = tmp_path / "pack.zip"
    assert packing.pack(found, place, say=told.append) == 1  # the same networks
    assert told == [f"{NAME}, seed 3"]
    read = rlap.load_networks(NAME, seed=3, source=place)
    assert {k: weight_digest(net) for k, net in read.items()} == known
    with pytest.raises(ValueError, match="no recorded run"):
        packing.pack(found, tmp_path / "b", only=["cifar10/vgg"])
    wrong = {**known, "original": known["retrained"]}
    other = record("07_rivals", rivals, networks=wrong)
    with pytest.raises(ValueError, match="original network made here is not the rec"):
        packing.pack([other], tmp_path / "c")
    soft = record("04_soft_pruning", SoftPruningParameters(**given).resolved())
    names = [name for name, _ in packing.runs_of([soft, *found], ["cifar10/small"])]
    assert names == [NAME, NAME, f"{NAME}/orthogonal=0.01"]
    longer = RelevanceParameters(**given, epochs=2).resolved()
    with pytest.raises(ValueError, match="two runs would be cifar10/small/cat, seed 3"):
        packing.pack([*found, record("03_relevance", longer)], tmp_path / "d")
    assert not any((tmp_path / name).exists() for name in "bcd")


def test_networks_of_another_processor_are_packed_on_demand(trained, tmp_path):
    """And whoever reads them is told."""
    run = RivalsParameters(tier="small", forget="cat", seed=3).resolved()
    known = {role: weight_digest(net) for role, net in nets(303).items()}
    wrong = record("07_rivals", run, networks={**known, "original": "another"})
    told, place = [], tmp_path / "pack"
    packing.pack([wrong], place, unlike=True, say=told.append)
    assert told == [f"{NAME}, seed 3: original not as recorded"]
    with pytest.warns(UserWarning, match="seed 3: original not as recorded"):
        read = rlap.load_networks(NAME, seed=3, source=place)
    assert {k: weight_digest(net) for k, net in read.items()} == known


def test_one_setting_can_be_asked_for(trained, tmp_path):
    found = [
        record(notebook, kind(tier="small", forget="cat", seed=seed).resolved())
        for notebook, kind in (("07_rivals", RivalsParameters),
                               ("04_soft_pruning", SoftPruningParameters))
        for seed in (0, 3)
    ]  # fmt: skip
    told = []
    packing.pack(found, tmp_path / "a", only=[NAME], seeds=[3], say=told.append)
    assert told == [f"{NAME}, seed 3", f"{NAME}/orthogonal=0.01, seed 3"]


def test_a_runs_networks_are_trained_as_its_notebook_does(monkeypatch):
    """The original on all that is not held out, the others without the class."""
    labels = torch.arange(200) % 10
    split = rlap.Split(torch.rand(200, 3, 32, 32), labels, None, 10)
    whole = rlap.Dataset(split, split, tuple("abcdefghij"), "cifar10", "here", "d")
    monkeypatch.setattr(packing.data, "load", lambda *_, **given: whole)
    seen, penalties = [], set()

    def fit(run, learned, device, *, seed, penalty):
        seen.append((seed, len(learned), 3 in learned.labels.tolist()))
        penalties.add(penalty)
        return torch.nn.Linear(1, 1), History()

    monkeypatch.setattr(packing.ground, "fit", fit)
    run = RivalsParameters(forget="cat", seed=3).resolved()
    made, trained = packing.networks(run)
    assert list(made) == list(trained) == list(ROLES)
    assert seen == [(3, 160, True), (1003, 144, False), (2003, 144, False)]
    assert len({key for key, _ in trained.values()}) == 3 and penalties == {None}
    packing.networks(SoftPruningParameters(forget="cat", seed=3).resolved())
    assert penalties == {None, KernelOrthogonality(0.01)} and seen[3:] == seen[:3]


def test_the_command(trained, tmp_path, capsys, monkeypatch):
    run = RivalsParameters(forget="cat", seed=3).resolved()
    from rlap.experiments import records

    monkeypatch.setattr(records, "read_all", lambda folder: [record("07_rivals", run)])
    place = tmp_path / "pack"
    words = ["networks", "pack", str(place), "--only", "cifar10/small"]
    assert main(words) == 0
    assert capsys.readouterr().out.endswith(f"{place}: the networks of 1 run\n")
    assert main(words) == 1
    assert "take another place" in capsys.readouterr().err
