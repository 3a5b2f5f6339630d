"""Checkpoints: a resumed run equals the uninterrupted one, bit for bit."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from rlap.data.base import Split
from rlap.files import digests
from rlap.files.download import atomic


class Resumable(Protocol):
    """What a checkpoint saves of a training run, and restores."""

    model: nn.Module
    split: Split
    optimizer: torch.optim.Optimizer
    plateau: ReduceLROnPlateau | None
    generator: torch.Generator
    device: torch.device
    history: Any  # a dataclass


def fingerprint(split: Split) -> str:
    """What tells these data from others: a digest and the settings of the noise."""
    parts = []
    for item in fields(split):
        value = getattr(split, item.name)
        if value is None and item.name in ("targets", "weights"):
            continue  # the name of what was trained before there were any
        if isinstance(value, Tensor):
            value = digests.of_tensors({item.name: value})
        parts.append(f"{item.name}={value}")
    return f"{type(split).__name__}({', '.join(parts)})"


def start_of(model: nn.Module) -> str:
    """What tells the start of one training from others: architecture and weights."""
    return f"{model} {digests.of_tensors(model.state_dict())}"


def shapes(state: dict[str, Tensor]) -> dict[str, torch.Size]:
    """The architecture as far as a state dict tells it."""
    return {name: value.shape for name, value in state.items()}


class Checkpoint:
    """Everything that the next epoch depends on, written whole or not at all."""

    def __init__(
        self,
        path: str | Path | None,
        run: Resumable,
        told: tuple,
        test: Split | None = None,
    ) -> None:
        self.path = Path(path) if path is not None else None
        self.run, self.tested = run, test is not None
        self.identity = repr((told, fingerprint(run.split))) if self.path else ""
        if self.path is not None and self.path.is_dir():
            # one file a run: those that agree in all of this end with the same network
            whole = (self.identity, start_of(run.model), test and fingerprint(test))
            self.path /= digests.sha256(repr(whole).encode())[:32] + ".pt"

    def restore(self) -> int:
        """Load the file if there is one; the epoch to go on with."""
        if self.path is None or not self.path.exists():
            return 0
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
            identity = saved["identity"]
        except Exception as error:  # whatever unpickling a foreign file raises
            raise ValueError(f"{self.path} is no checkpoint; remove it") from error
        if identity != self.identity:
            raise ValueError(
                f"{self.path} belongs to another run (recipe, seed, data, mask or "
                "trained modules differ); remove it or name another checkpoint"
            )
        run = self.run
        if shapes(saved["model"]) != shapes(run.model.state_dict()):
            raise ValueError(
                f"{self.path} belongs to another network; remove it or name another "
                "checkpoint"
            )
        history = saved["history"]
        if bool(history["test_accuracy"]) != (self.tested and bool(history["loss"])):
            has, now = ("with", "without")[:: -1 if self.tested else 1]
            raise ValueError(
                f"{self.path} was written {has} test=... and is resumed {now} it: give "
                "the same, or name another checkpoint"
            )
        run.model.load_state_dict(saved["model"])
        run.optimizer.load_state_dict(saved["optimizer"])
        if run.plateau is not None:
            run.plateau.load_state_dict(saved["plateau"])
        run.generator.set_state(saved["generator"])
        torch.set_rng_state(saved["rng"])
        if run.device.type == "cuda":
            torch.cuda.set_rng_state(saved["cuda_rng"], run.device)
        vars(run.history).update(saved["history"])
        run.history.resumed = len(run.history.loss)
        return run.history.resumed

    def write(self) -> None:
        """Save after an epoch: to a temporary name first, then renamed."""
        if self.path is None:
            return
        run = self.run
        state = {
            "identity": self.identity,
            "model": run.model.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "plateau": run.plateau and run.plateau.state_dict(),
            "generator": run.generator.get_state(),
            "rng": torch.get_rng_state(),
            "history": asdict(run.history),
        }
        if run.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(run.device)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(self.path) as temporary:
            torch.save(state, temporary)
