"""The parts of ``abuse.py``: what is done to kills, files and inputs."""

from __future__ import annotations

import traceback
from pathlib import Path

import rlap

ERROR, RIGHT, FAULT = "clean error", "right answer", "fault"
OURS = Path(rlap.__file__).parent


class Fault(Exception):
    """What should never be."""


def clean(error: BaseException, *, foreign: tuple[str, ...] = ()) -> str:
    """The sentence of an error that rlap has raised; ``Fault`` for any other.

    Ours is one that was raised in a file of the package, or in one of the ``foreign``
    ones, such as the forward of a caller's network.
    """
    told = " ".join(str(part) for part in error.args)
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = Path(last.filename)
    if any(part in last.filename for part in foreign):
        return told
    ours = OURS in where.parents
    if not isinstance(
        error, TypeError | ValueError | KeyError | RuntimeError | OSError
    ):
        raise Fault(f"{type(error).__name__} at {where.name}:{last.lineno}: {told}")
    if not ours:
        raise Fault(f"not said by rlap but at {where}:{last.lineno}: {told[:200]}")
    if not 8 <= len(told) <= 400 or "\n" in told.strip():
        raise Fault(f"no sentence: {told!r}")
    return told
