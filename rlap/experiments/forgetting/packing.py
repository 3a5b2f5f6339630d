"""The originals and retrained networks of recorded runs, made again and packed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from rlap import data
from rlap.experiments.forgetting import ground
from rlap.experiments.forgetting.parameters import ForgettingParameters
from rlap.experiments.parameters import NOTEBOOKS
from rlap.models.packed import Packing
from rlap.unlearning.common.statistics import weight_digest

# of the recorded runs, those whose networks are plain ones; the first has their digests
SOURCES = ("07_rivals", "03_relevance")
SHARED = ("tier", "train_size", "test_size", "epochs", "lr")


def pack(
    records: Sequence[Mapping],
    place: Path,
    *,
    only: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> int:
    """Write a pack of the networks of all runs that ``records`` hold; how many runs.

    Each is trained as its run has trained it, or taken from where a sweep shares them
    (``RLAP_NETWORKS``), and has to be the one that the record knows. ``only`` takes
    those whose names ("cifar10/small/airplane") begin with one of these. Raises
    ``ValueError`` for records that no network can be told for, and where none is left.
    """
    packing, known = Packing(), {}
    for name, record in runs_of(records, only):
        seed, asked = record["seed"], record["parameters"]
        what = {key: asked[key] for key in SHARED}
        if (name, seed) in known:
            if known[name, seed] != what:
                raise ValueError(f"two runs would be {name}, seed {seed}: use --only")
            continue
        known[name, seed] = what
        kind = NOTEBOOKS[record["notebook"]]
        run = kind.from_mapping({k: asked[k] for k in kind.names() if k in asked})
        nets = networks(run)
        check(record, nets, name)
        packing.add(name, seed, run.model, nets)
        say(f"{name}, seed {seed}")
    if not known:
        raise ValueError("no recorded run is of these networks")
    packing.write(place)
    return len(known)


def runs_of(
    records: Sequence[Mapping], only: Sequence[str]
) -> Iterator[tuple[str, Mapping]]:
    """Name and record of the runs to pack, those that know their networks first."""
    for notebook in SOURCES:
        for record in records:
            if record["notebook"] != notebook or record["data"]["stand_in"]:
                continue
            asked = record["parameters"]
            name = f"{record['data']['name']}/{asked['model']}/{asked['forget']}"
            if not only or name.startswith(tuple(only)):
                yield name, record


def networks(run: ForgettingParameters) -> dict[str, nn.Module]:
    """The three networks of a run, as its notebook trains them."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    sizes = {"train_size": run.train_size, "test_size": run.test_size}
    loaded = data.load(run.data_set, **sizes, seed=run.seed, allow_stand_in=False)
    case = ground.Case.of(loaded, run.label, 1, run.seed)
    nets = {"original": ground.fit(run, case.train, device, seed=run.seed)[0]}
    return nets | {
        k: made[0] for k, made in ground.retrained(run, case, device).items()
    }


def check(record: Mapping, nets: Mapping[str, nn.Module], name: str) -> None:
    """Raise ``ValueError`` unless these are the networks that the record knows."""
    for role, recorded in record.get("networks", {}).items():
        if weight_digest(nets[role]) != recorded:
            raise ValueError(
                f"{name}, seed {record['seed']}: the {role} network made here is not "
                "the recorded one; another processor, version or number of threads "
                "(OMP_NUM_THREADS) gives slightly other weights"
            )
