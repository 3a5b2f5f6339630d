"""The most memory that a call holds on the CPU, as the kernel counts it."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

PROCESS = Path("/proc/self")


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
