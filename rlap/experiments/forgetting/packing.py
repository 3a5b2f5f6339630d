"""The originals and retrained networks of recorded runs, made again and packed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rlap import data
from rlap.experiments.forgetting import ground, ready
from rlap.experiments.forgetting.parameters import ForgettingParameters
from rlap.experiments.parameters import NOTEBOOKS
from rlap.models.packed import Packing
from rlap.unlearning.common.statistics import weight_digest
from rlap.unlearning.methods.orthogonality import KernelOrthogonality

# of the recorded runs, those with plain networks, the first of which has their digests;
# and those that have orthogonal ones beside them
SOURCES = ("07_rivals", "03_relevance", "04_soft_pruning")
ORTHOGONAL = SOURCES[-1]
SHARED = ("tier", "train_size", "test_size", "epochs", "lr")


def pack(
    records: Sequence[Mapping],
    place: Path,
    *,
    only: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    unlike: bool = False,
    say: Callable[[str], None] = print,
) -> int:
    """Write a pack of the networks of all runs that ``records`` hold; how many runs.

    Each is trained as its run has trained it, or taken from where a sweep shares them
    (``RLAP_NETWORKS``), and has to be the one that the record knows; with ``unlike``
    another one will do, and the pack says so. ``only`` takes those whose names
    ("cifar10/small/airplane") begin with one of these, ``seeds`` those of these seeds.
    Raises ``ValueError`` for records that no network can be told for, and where none is
    left.
    """
    packing, known = Packing(), {}
    for name, record in runs_of(records, only, seeds):
        seed, asked = record["seed"], record["parameters"]
        what = {key: asked[key] for key in SHARED}
        if (name, seed) in known:
            if known[name, seed] != what:
                raise ValueError(f"two runs would be {name}, seed {seed}: use --only")
            continue
        known[name, seed] = what
        kind = NOTEBOOKS[record["notebook"]]
        run = kind.from_mapping({k: asked[k] for k in kind.names() if k in asked})
        nets, trained = networks(run)
        others = not_recorded(record, nets)
        if others and not unlike:
            raise ValueError(refusal(others[0], name, seed))
        packing.add(name, seed, run.model, nets, trained, others)
        told = f": {', '.join(others)} not as recorded" if others else ""
        say(f"{name}, seed {seed}{told}")
    if not known:
        raise ValueError("no recorded run is of these networks")
    packing.write(place)
    return len(known)


def runs_of(
    records: Sequence[Mapping],
    only: Sequence[str],
    seeds: Sequence[int] | None = None,
) -> Iterator[tuple[str, Mapping]]:
    """Name and record of the runs to pack, those that know their networks first."""
    for notebook in SOURCES:
        for record in records:
            if record["notebook"] != notebook or record["data"]["stand_in"]:
                continue
            if seeds is not None and record["seed"] not in seeds:
                continue
            asked = record["parameters"]
            name = f"{record['data']['name']}/{asked['model']}/{asked['forget']}"
            if notebook == ORTHOGONAL:
                name += f"/orthogonal={asked['strength']:g}"
            if not only or name.startswith(tuple(only)):
                yield name, record


def networks(
    run: ForgettingParameters,
) -> tuple[dict[str, nn.Module], dict[str, tuple[str, dict[str, Any]]]]:
    """The three networks of a run, as its notebook trains them (of soft pruning the
    orthogonal ones), and the key and history of each training."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    sizes = {"train_size": run.train_size, "test_size": run.test_size}
    loaded = data.load(run.data_set, **sizes, seed=run.seed, allow_stand_in=False)
    case = ground.Case.of(loaded, run.label, 1, run.seed)
    strength = getattr(run, "strength", None)
    penalty = None if strength is None else KernelOrthogonality(strength)
    recipe, nets, trained = ground.recipe_of(run), {}, {}
    for role, (split, seed) in ground.trainings(run, case).items():
        given = {"seed": seed, "penalty": penalty}
        nets[role], history = ground.fit(run, split, device, **given)
        key = ready.key(run, split, recipe, **given)
        trained[role] = key, ready.history_of(history)
    return nets, trained


def not_recorded(record: Mapping, nets: Mapping[str, nn.Module]) -> list[str]:
    """The roles in which these are not the networks that the record knows, if any."""
    known = record.get("networks", {})
    return [role for role in known if weight_digest(nets[role]) != known[role]]


def refusal(role: str, name: str, seed: int) -> str:
    """Why a network is not packed, and what can be done."""
    return (
        f"{name}, seed {seed}: the {role} network made here is not the recorded one; "
        "another processor, version or number of threads (OMP_NUM_THREADS) gives "
        "slightly other weights. --unlike packs what is made here, and says so"
    )
