"""Networks of recorded runs that a pack at hand holds, and that need no training.

A pack is found as ``rlap.load_networks`` finds it, is only ever read, and knows a
network by all that decides it: ``key``. What has other data, another recipe or another
seed is trained. The record says of what was taken that it was not trained there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from rlap.experiments.checked import Parameters
from rlap.files import digests
from rlap.models.packed import INDEX, Pack, at_hand
from rlap.training.checkpoint import fingerprint
from rlap.training.loop import History
from rlap.training.recipe import Recipe

Penalty = Callable[[nn.Module], Tensor]
TRAINING = digests.PACKAGE / "training"
# what was taken for a run, as its record tells it; gone with the run
TAKEN: WeakKeyDictionary[Parameters, dict[str, Any]] = WeakKeyDictionary()


def key(
    run: Parameters,
    split: Any,
    recipe: Recipe,
    seed: int,
    penalty: Penalty | None = None,
) -> str:
    """The digest of what decides a network: its name, every sample that it is trained
    on, the recipe, the seed, the penalty (by its repr) and the code of the training.

    The weights that it starts from are not in it: they follow from these, and another
    processor rounds them otherwise.

    >>> from rlap.experiments.parameters import RelevanceParameters
    >>> run = RelevanceParameters().resolved()
    >>> recipe = rlap.Recipe(epochs=2)
    >>> key(run, data, recipe, seed=0) == key(run, data, recipe, seed=1)
    False
    """
    told = (run.model, asdict(recipe), seed, penalty and repr(penalty))
    code = digests.code_digest(TRAINING)
    return digests.sha(repr(told), fingerprint(split), code)


def history_of(history: History) -> dict[str, Any]:
    """What a pack keeps of a training: of its seconds a record tells."""
    return {k: v for k, v in asdict(history).items() if k != "resumed"}


def taken(
    run: Parameters,
    split: Any,
    recipe: Recipe,
    device: torch.device | str,
    seed: int,
    penalty: Penalty | None = None,
) -> tuple[nn.Module, History] | None:
    """The network that such a training ends with, and the training's history, from a
    pack at hand; None without a pack, or where it does not hold this one.

    What is taken is verified; ``ValueError`` unless it is as it was packed. The first
    time for a ``run``, one line is printed.
    """
    place = at_hand()
    if place is None:
        return None
    pack = Pack(place)
    found = pack.index.get("trained", {}).get(key(run, split, recipe, seed, penalty))
    if found is None:
        return None
    try:
        file, told = found["file"], found["history"]
        history = History(**told, resumed=len(told["loss"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{place} is not as it was packed: {error}") from error
    net = pack.network(file).to(device)
    if run not in TAKEN:
        print(f"not trained here: networks from the pack {place.name}, verified")
        index = digests.sha256(pack.read(INDEX))
        TAKEN[run] = {"pack": place.name, "index": index, "not_trained_here": 0}
    TAKEN[run]["not_trained_here"] += 1
    return net, history


def provenance(run: Parameters) -> dict[str, Any]:
    """What a record says of the networks that were taken for its run, under
    "networks": the pack's name, the digest of its index, how many; {} for none."""
    return {"networks": dict(TAKEN[run])} if run in TAKEN else {}
