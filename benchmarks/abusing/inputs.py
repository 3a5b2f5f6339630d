"""Odd inputs to public calls: a twist of what a call is given, or of where it is made.

Whatever comes of it, a network that a call does not promise to change is as it was, and
so is the global random state.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import rlap
from abusing import ERROR, RIGHT, Fault, clean
from abusing.twists import ANY, EITHER, FREE, REFUSED, SAME, TWISTS
from abusing.world import World, plain
from rlap.metrics import auroc
from rlap.unlearning import METHODS, forget

# a network's own forward may raise what it likes: these files are of the caller
FOREIGN = ("abusing/twists.py", "torch/nn/modules/", "torch/export/")
CHANGING = ("train", "prune", "finetune head", "finetune full")


def of_training(w: World, history: rlap.History) -> list[object]:
    """What a call that trains leaves."""
    return [history.loss, history.accuracy, dict(w.model.state_dict())]


# name -> what it reads of a world, and the call
CALLS = {
    "activations": ("x model layer batch_size", lambda w: rlap.activations(
        w.model, w.x, layer=w.layer, batch_size=w.batch_size)),
    "attribute": ("x model output layer batch_size", lambda w: rlap.attribute(
        w.model, w.x, layer=w.layer, batch_size=w.batch_size)),
    "attribute, all classes": ("x model output layer", lambda w: rlap.attribute(
        w.model, w.x, layer=w.layer, fast=False)),
    "attribute, loss": ("x y model output layer", lambda w: rlap.attribute(
        w.model, w.x, layer=w.layer, method="loss_gradient_x_activation", labels=w.y)),
    "scan": ("x model output layer batch_size", lambda w: vars(rlap.scan(
        w.model, w.x, layer=w.layer, batch_size=w.batch_size))),
    "predict": ("x model output batch_size", lambda w: rlap.predict(
        w.model, w.x, batch_size=w.batch_size)),
    "evaluate": ("x y model output", lambda w: rlap.evaluate(
        w.model, w.data).as_dict()),
    "prune": ("model layer units", lambda w: [
        rlap.prune(w.model, layer=w.layer, units=w.units).describe(),
        dict(w.model.state_dict())]),
    "train": ("x y model output recipe seed", lambda w: of_training(w, rlap.train(
        w.model, w.data, w.recipe, seed=w.seed))),
    "finetune head": ("x y model output recipe seed layer", lambda w: of_training(
        w, rlap.finetune(w.model, w.data, layer=w.layer, recipe=w.recipe,
                         seed=w.seed))),
    "finetune full": ("x y model output recipe seed", lambda w: of_training(
        w, rlap.finetune(w.model, w.data, scope="full", recipe=w.recipe,
                         seed=w.seed))),
    "robustify": ("x y model output recipe seed layer amount batch_size", lambda w: [
        (r := rlap.robustify(w.model, w.data, layer=w.layer, amount=w.amount,
                             recipe=w.recipe, seed=w.seed, batch_size=w.batch_size)
         ).mask.units, r.partition.high_quality, r.histories["finetune"].loss]),
    "partition": ("scores seed", lambda w: rlap.partition(
        w.scores, rule="loss", seed=w.seed).posterior),
    "partition of x": ("x seed", lambda w: rlap.partition(w.x, seed=w.seed).posterior),
    "sensitivity": ("x", lambda w: rlap.sensitivity(w.x, w.y == 0)),
    "top units": ("scores amount", lambda w: rlap.top_units(w.scores, w.amount)),
    "auroc": ("scores", lambda w: asdict(auroc(w.scores, w.y == 0))),
    "sample scores": ("x y", lambda w: rlap.sample_scores(
        w.x[:, :3] if getattr(w.x, "ndim", 0) == 2 else w.x, w.y)),
    "share at bounds": ("x", lambda w: rlap.share_at_bounds(w.x)),
    "corrupt inputs": ("x y seed", lambda w: [
        (c := rlap.corrupt(w.data, kind="gaussian", rate=0.5, level=1.0, seed=w.seed)
         ).is_corrupted, c.split.inputs]),
    "corrupt labels": ("x y seed", lambda w: rlap.corrupt(
        w.data, kind="pair", rate=0.5, seed=w.seed).split.labels),
    "diagnose": ("x y model output recipe seed", lambda w: rlap.diagnose(
        w.model, w.data, recipe=w.recipe, seed=w.seed).report()),
    "repair": ("x y model output recipe seed", lambda w: [
        (r := rlap.repair(w.model, w.data, recipe=w.recipe, seed=w.seed)).chosen,
        r.report().split("\n")[0]]),
    "forget": ("x y model output seed", lambda w: forget(
        w.model, w.data, 1, method="logit_mask", share=0.5, seed=w.seed).after),
    "forget by SSD": ("x y model output", lambda w: dict(METHODS["ssd"](
        w.model, w.data.subset(w.y == 1), w.data.subset(w.y != 1)).state_dict())),
}  # fmt: skip


# ranks may be infinite; samples may have any shape, where no network reads them
ALLOWED = {
    ("auroc", "infinite at the end"): ANY,
    ("auroc", "complex"): REFUSED,
    ("sample scores", "NaN at the end"): ANY,
    ("sample scores", "infinite at the end"): ANY,
    ("share at bounds", "of three dimensions"): ANY,
    ("corrupt inputs", "of three dimensions"): ANY,
    ("corrupt labels", "of three dimensions"): ANY,
    (
        "repair",
        "counting its calls",
    ): EITHER,  # what has a buffer may refuse new weights
}
SKIPPED = {("forget by SSD", "saved tensors on disk")}  # torch.func refuses them


def trial(rng: random.Random, folder: Path) -> tuple[str, str]:
    """One call with one twist of something that it reads."""
    name = rng.choice(list(CALLS))
    reads, call = CALLS[name]
    about = (*reads.split(), "around")
    known = [t for t in TWISTS if t.about in about and (name, t.name) not in SKIPPED]
    twist = rng.choice(known)
    told = f"{name}, {twist.name}"
    world, reference = plain(), plain()
    wanted = ALLOWED.get((name, twist.name), twist.wanted)
    twist.change(world)
    (twist.reference or (lambda w: None))(reference)
    before, state = seen(world.model), torch.get_rng_state()
    try:
        with world.around():
            found = call(world)
    except Exception as error:
        found = error
    if name not in CHANGING:
        check_untouched(told, world.model, before, state)
    if isinstance(found, Exception):
        if wanted in (SAME, ANY):
            raise Fault(f"{told}: must work, but: {found!r}") from found
        try:
            return ERROR, f"{told}: {clean(found, foreign=FOREIGN)}"
        except Fault as fault:
            raise Fault(f"{told}: {fault}") from found
    if wanted == REFUSED:
        raise Fault(f"{told}: taken without a word")
    if wanted not in (ANY, FREE) and (apart := difference(found, call(reference))):
        raise Fault(f"{told}: not what the plain call says: {apart}")
    return RIGHT, told


def seen(model: nn.Module) -> tuple[object, ...] | None:
    """What a call must leave as it was."""
    if not isinstance(model, nn.Module):
        return None
    state = model.state_dict().items()
    values = {k: v.detach().clone() for k, v in state if isinstance(v, Tensor)}
    modes = [getattr(module, "training", None) for module in model.modules()]
    hooks = [
        (len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()
    ]
    wanted = [p.requires_grad for p in model.parameters()]
    return values, modes, hooks, wanted, [p.grad is None for p in model.parameters()]


def check_untouched(told: str, model: nn.Module, before: Any, state: Tensor) -> None:
    """Raise ``Fault`` where the network or the random state is not as it was."""
    if (apart := difference(seen(model), before)) is not None:
        raise Fault(f"{told}: the network is changed: {apart}")
    if not torch.equal(torch.get_rng_state(), state):
        raise Fault(f"{told}: the random state is changed")


def difference(found: Any, wanted: Any, where: str = "") -> str | None:
    """Where two answers differ by more than rounding, or None."""
    if is_dataclass(found) and not isinstance(found, type):
        found, wanted = vars(found), vars(wanted)
    if isinstance(found, Mapping):
        keys = {str(k) for k in found} ^ {str(k) for k in wanted}
        pairs = [(k, found[k], wanted[k]) for k in found] if not keys else []
        return f"{where} has other keys" if keys else first(pairs, where)
    if isinstance(found, Sequence) and not isinstance(found, str):
        if len(found) != len(wanted):
            return f"{where}: {len(found)} instead of {len(wanted)} entries"
        return first(zip(range(len(found)), found, wanted, strict=True), where)
    if isinstance(found, Tensor):
        if found.is_meta:
            return None
        a, b = (v.detach().to("cpu", torch.float64) for v in (found, wanted))
        same = a.shape == b.shape and torch.allclose(a, b, 1e-3, 1e-4, equal_nan=True)
        return None if same else f"{where}: {tuple(a.shape)} values differ"
    if isinstance(found, float) and isinstance(wanted, int | float):
        near = math.isclose(found, wanted, rel_tol=1e-3, abs_tol=1e-4)
        return None if near or found != found else f"{where}: {found}, not {wanted}"
    return None if found == wanted else f"{where}: {found!r}, not {wanted!r}"


def first(pairs: Any, where: str) -> str | None:
    """The first difference among named pairs."""
    told = (difference(a, b, f"{where}.{key}") for key, a, b in pairs)
    return next((text for text in told if text), None)
