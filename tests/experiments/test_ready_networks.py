"""Runs whose networks a pack at hand holds take them from there and train nothing."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from conftest import change_packed as change
from conftest import randn, same_state, state

from rlap.data import Dataset, Split
from rlap.experiments import arms, records
from rlap.experiments.forgetting import ground, packing, ready
from rlap.experiments.forgetting.account import examined
from rlap.experiments.parameters import RelevanceParameters, SoftPruningParameters
from rlap.files import digests
from rlap.models.packed import INDEX, Pack, Packing
from rlap.unlearning.methods.orthogonality import KernelOrthogonality

NAME = "cifar10/small/cat"


def dataset(train_size: int = 160) -> Dataset:
    def split(n: int, seed: int) -> Split:
        return Split(randn(n, 3, 32, 32, seed=seed), torch.arange(n) % 10, None, 10)

    return Dataset(split(train_size, 0), split(60, 1), tuple("abcdefghij"), "cifar10",
                   "here", "d" * 64)  # fmt: skip


def asked(kind=RelevanceParameters, **given):
    usual = {"forget": "cat", "seed": 3, "epochs": 1, "train_size": 500}
    return kind(**usual | given).resolved()


def case_of(run, data: Dataset) -> ground.Case:
    return ground.Case.of(data, run.label, 1, run.seed)


def made(run, data: Dataset, penalty=None) -> dict:
    """Networks and histories, as a notebook makes them."""
    case = case_of(run, data)
    first = ground.fit(run, case.train, "cpu", seed=run.seed, penalty=penalty)
    others = ground.retrained(run, case, "cpu", penalty=penalty)
    return {"original": first, **others}


@pytest.fixture(scope="module")
def trained():
    return made(asked(), dataset())


@pytest.fixture(params=["networks.zip", "networks"])
def pack(request, folders, monkeypatch, trained):
    """A pack of one run where data are; from here on nothing may be trained."""
    run, data, place = asked(), dataset(), folders / "data" / request.param
    monkeypatch.setattr(packing.data, "load", lambda *_, **given: data)
    monkeypatch.setattr(packing.ground, "fit", lambda run, split, device, seed, **_: {
        s: trained[role] for role, (_, s) in
        ground.trainings(run, case_of(run, data)).items()}[seed])  # fmt: skip
    making = Packing()
    making.add(NAME, run.seed, run.model, *packing.networks(run))
    making.write(place)
    monkeypatch.undo()
    for name in ("RLAP_DATA", "RLAP_CACHE"):
        monkeypatch.setenv(name, str(folders / name[5:].lower()))

    def train(*_, **__):
        raise AssertionError("trained")

    monkeypatch.setattr(arms, "train", train)
    return place


def test_a_run_takes_its_networks_and_trains_nothing(pack, trained, capsys):
    run, data = asked(), dataset()
    found = made(run, data)
    assert capsys.readouterr().out == (
        f"not trained here: networks from the pack {pack.name}, verified\n"
    )
    for role, (net, history) in trained.items():
        new, told = found[role]
        assert same_state(new, state(net)) and not new.training
        assert asdict(told) == asdict(history) | {"resumed": run.epochs}
        assert told.total_seconds == history.total_seconds > 0
        frozen = [p.requires_grad for p in new.parameters()]
        assert frozen == [p.requires_grad for p in net.parameters()]

    def account(nets):
        kept = {k: ground.of_history(*v, "both") for k, v in nets.items()}
        return examined(run, case_of(run, data), kept)

    assert account(found) == account(trained)  # every number, with the seconds


def test_the_record_says_that_they_were_not_trained_there(pack, trained):
    def provenance(run) -> dict:
        given = {
            "notebook": "03_relevance",
            "data": dataset(),
            "protocol": "forgetting",
        }
        return records.new_record(run, **given, measured={})["provenance"]

    run = asked()
    made(run, dataset())
    assert provenance(run)["networks"] == {
        "pack": pack.name,
        "index": digests.sha256(Pack(pack).read(INDEX)),
        "not_trained_here": 3,
    }
    assert "networks" not in provenance(asked(seed=4))


@pytest.mark.parametrize(
    "given",
    [{"seed": 4}, {"epochs": 2}, {"lr": 0.04}, {"model": "vgg"}, {"forget": "dog"}],
    ids=str,
)
def test_another_run_trains(pack, given):
    run, data = asked(**given), dataset()
    with pytest.raises(AssertionError, match="trained"):
        ground.retrained(run, case_of(run, data), "cpu")


def test_other_samples_or_another_penalty_train(pack, monkeypatch):
    run, data = asked(), dataset()
    for other in (dataset(150), replace(data, train=replace(data.train,
                  inputs=data.train.inputs + 1e-6)), ):  # fmt: skip
        with pytest.raises(AssertionError, match="trained"):
            made(run, other)
    soft = asked(SoftPruningParameters)
    assert len(made(soft, data)) == 3  # the plain ones are the same
    with pytest.raises(AssertionError, match="trained"):
        made(soft, data, KernelOrthogonality(soft.strength))
    # and where the code of the training is another
    monkeypatch.setattr(ready.digests, "code_digest", lambda _: "another")
    with pytest.raises(AssertionError, match="trained"):
        made(run, data)


def test_a_pack_that_was_changed_is_refused(pack):
    for name in Pack(pack).index["files"]:
        change(pack, name, lambda content: content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match="is not as it was packed"):
        made(asked(), dataset())


def test_what_is_told_of_a_training_has_to_be_whole(pack):
    change(pack, INDEX, lambda text: text.replace(b'"loss"', b'"lost"'))
    with pytest.raises(ValueError, match="is not as it was packed: 'loss'"):
        made(asked(), dataset())


def test_a_file_with_a_wrong_checksum_is_refused(pack):
    """Whether the archive notices it or we do."""
    place = pack if pack.is_file() else max(pack.glob("small-*"))
    content = bytearray(place.read_bytes())
    content[content.index(b"fc2")] ^= 1
    place.write_bytes(content)
    with pytest.raises(ValueError, match="is not as it was packed"):
        made(asked(), dataset())


def test_without_a_pack_all_is_as_before(folders, monkeypatch):
    """Nothing is looked up, and a folder that only has the name is no pack."""
    (folders / "data" / "networks").mkdir()
    monkeypatch.setattr(ready, "key", None)
    run = asked()
    net, history = ground.fit(run, case_of(run, dataset()).train, "cpu", seed=3)
    assert history.resumed == 0 and ready.provenance(run) == {}
