"""A better network from bad data, or the one that there was."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from rlap.checks import check_count, check_model, check_positive, check_seed
from rlap.repair.account import Diagnosis
from rlap.repair.bench import AS_IT_CAME, Bench, Tried, in_seconds, told
from rlap.repair.retraining import usual_recipe
from rlap.repair.samples import Logits, Samples
from rlap.training.loop import History
from rlap.training.recipe import Recipe, check_recipe
from rlap.wording import in_brief


@dataclass(frozen=True)
class Repair:
    """What ``repair`` made.

    Attributes:
        model: the repaired copy, in eval mode; the caller's own where ``chosen`` is "as
            it came".
        history: of its training, the last round of several; None for the network as it
            came and for a repair that trains nothing.
        diagnosis: of the data that were trained on, by the repaired network where that
            has something to say of labels that seemed wrong.
        tried: the network as it came and every repair that was tried.
        chosen: the name of the one that ``model`` is.
        seconds: of everything.
        notes: what else there is to know.
        stand_in: whether all that was tried was tried on a network trained for it,
            because no ``holdout`` was given.
        histories: of every round of its training.

    >>> found = rlap.repair(model, data, recipe=short)
    >>> found.tried[0].name, found.chosen in {each.name for each in found.tried}
    ('as it came', True)
    """

    model: nn.Module
    history: History | None
    diagnosis: Diagnosis
    tried: list[Tried]
    chosen: str
    seconds: float
    notes: list[str] = field(default_factory=list)
    stand_in: bool = False
    histories: list[History] = field(default_factory=list, repr=False)

    __repr__ = in_brief

    def report(self) -> str:
        """The diagnosis, what was tried, a line each, and what was chosen."""
        whose = " on a stand-in that has not seen them" if self.stand_in else ""
        lines = [
            self.diagnosis.report(),
            "",
            f"Tried{whose}: accuracy by the true classes, estimated on held-out",
            "samples (z: standard errors above the network as it came; one is needed):",
        ]
        lines += [f"  {each}" for each in self.tried]
        lines += [f"Chosen: {self.chosen} ({in_seconds(self.seconds)} in all)."]
        return "\n".join(lines + self.notes)

    def __str__(self) -> str:
        return self.report()


def repair(
    model: nn.Module,
    data: Any,
    *,
    holdout: Any = None,
    budget: float | None = None,
    trainings: int | None = None,
    recipe: Recipe | None = None,
    prepare: Callable[[Tensor], Tensor] | None = None,
    output: Callable[[Any], Tensor] | None = None,
    seed: int = 0,
) -> Repair:
    """Return the best network that can be shown to be better, or the one given.

    The caller's model is left as it was. Inputs are read a batch at a time; what a
    torch Dataset makes of them is kept, if it takes no more than 2 GB.

    Tried are continued training as it is and, where something is found to be wrong,
    towards the likelier classes, without what is probably bad, and anew; SAP's
    projection (Kodge et al., AAAI 2025) and the paper's pruning with its head
    fine-tuned, which need the network's own features and cost seconds.

    Args:
        model, data, prepare, output: as for ``diagnose``.
        holdout: data of the same kind that the model has *not* been trained on; as
            noisy as the rest is enough. Without it a part of ``data`` is held out, and
            a stand-in, trained without that part, shows which repair helps; one more
            training is the cost.
        budget: seconds; a repair that would probably end later is not begun. What the
            diagnosis takes, and a stand-in's training, is spent in any case.
        trainings: how many repairs that take a whole training are tried at most; the
            likeliest is the first. A diagnosis that needs a training has its own.
        recipe: one training, best the one that made the model; by default ten epochs
            of Adam with a one-cycle learning rate, few samples in smaller batches.
            Images are cropped and flipped where the recipe does not augment and mirror
            images are as well recognised.
        seed: of everything that is drawn.

    Raises ``TypeError`` and ``ValueError`` for unusable data or models.

    >>> found = rlap.repair(model, data, recipe=short)
    >>> found.model is model or found.tried[1].z is not None
    True
    """
    began = time.perf_counter()
    network = Logits(check_model(model), output)
    check_recipe(recipe)
    if budget is not None:
        check_positive(budget, "budget")
    if trainings is not None:
        check_count(trainings, "trainings")
    samples = Samples(data, prepare)
    given, ids = samples.split()
    recipe = recipe or usual_recipe(len(given))
    bench = Bench(recipe, budget, check_seed(seed), began, trainings)
    bench.notes += samples.notes
    held = None
    if holdout is None:
        best = bench.by_stand_in(network, given)
    else:
        slice_ = Samples(holdout, prepare, "holdout")
        held, _ = slice_.split()
        bench.notes += slice_.notes
        best = bench.repair(network, given, held)
    best = bench.diagnosed_anew(best, given, held)
    return Repair(
        model if best.chosen == AS_IT_CAME else best.network.network,
        best.history,
        replace(best.diagnosis, ids=ids),
        bench.tried,
        told(best.chosen, best.rounds),
        time.perf_counter() - began,
        bench.notes,
        stand_in=holdout is None,
        histories=list(best.histories),
    )
