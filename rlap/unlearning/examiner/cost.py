"""What a call costs: seconds, and the most memory that it holds."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

PROCESS = Path("/proc/self")  # the kernel's own account of this process
T = TypeVar("T")


@dataclass(frozen=True)
class Cost:
    """What a call took: ``seconds`` of wall time and ``peak_bytes`` of memory beyond
    what was held before: of a GPU what PyTorch allocated; on the CPU under Linux what
    the process held, in whole pages; elsewhere None."""

    seconds: float
    peak_bytes: int | None


def measured(
    call: Callable[[], T], device: torch.device | str = "cpu", *, memory: bool = True
) -> tuple[T, Cost]:
    """The result of ``call`` and its cost; the data that it uses are in ``METHODS``.

    Without ``memory`` that is not measured, which on the CPU takes longer than a quick
    call does.
    """
    device = torch.device(device)
    gpu = device.type == "cuda"
    if gpu:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    else:
        before = begin_peak() if memory else None
    began = time.perf_counter()
    result = call()
    if gpu:
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - began
    if gpu:
        return result, Cost(seconds, torch.cuda.max_memory_allocated(device) - before)
    return result, Cost(seconds, peak_since(before))


def begin_peak() -> int | None:
    """Give freed memory back, set the process's high-water mark to what it holds now,
    and return that, in bytes; None where the system has no such mark (not Linux)."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # else the call is served from what lies free
        (PROCESS / "clear_refs").write_text("5")
        return held("VmRSS")
    except (OSError, AttributeError, ValueError):
        return None


def peak_since(before: int | None) -> int | None:
    """Bytes that the process has held at most beyond ``before``."""
    return None if before is None else max(0, held("VmHWM") - before)


def held(mark: str) -> int:
    """Bytes of resident memory: now ("VmRSS"), or at most ("VmHWM")."""
    for line in (PROCESS / "status").read_text().splitlines():
        if line.startswith(f"{mark}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"the system does not tell {mark}")
