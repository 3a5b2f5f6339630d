"""A lock on a run's folder that the operating system frees when its holder dies.

filelock locks the open file, and not by the file's existence: a killed process leaves
no lock behind, two that start at once cannot both win, and the number of a process that
has died may be used again by another. Who holds it stands in a note beside it: for the
message, and because not every network file system tells a host what another has locked.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

# seconds: long enough to see that a holder who was about to leave has left
PATIENCE = 0.2


class RunLocked(RuntimeError):
    """Another living process is writing this folder."""


@contextmanager
def lock(out: Path) -> Iterator[None]:
    """Hold ``.NAME.lock`` beside ``out``; the folder above ``out`` is made if missing.

    Raises ``RunLocked`` when another process holds it, or when its note names another
    host.
    """
    path, note = (out.with_name(f".{out.name}.{end}") for end in ("lock", "holder"))
    path.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(path)
    try:
        held.acquire(timeout=PATIENCE, poll_interval=PATIENCE / 10)
    except Timeout as error:
        raise RunLocked(refusal(out, note)) from error
    try:
        if holder(note)[1:] not in ([], [socket.gethostname()]):
            raise RunLocked(refusal(out, note))
        note.write_text(f"{os.getpid()} {socket.gethostname()}", encoding="utf-8")
        try:
            yield
        finally:
            note.unlink(missing_ok=True)
            with suppress(OSError):  # Windows does not remove an open file; it may stay
                path.unlink()  # while it is held: who waits for it sees that it is gone
    finally:
        held.release()


def holder(note: Path) -> list[str]:
    """[process, host], or nothing where the note says nothing of the kind."""
    try:
        words = note.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return []
    return words if len(words) == 2 else []


def refusal(out: Path, note: Path) -> str:
    """Who writes the folder, and what to do."""
    who = holder(note)
    told = f"process {' on '.join(who)}" if who else "another process"
    return (
        f"{out} is being written by {told}; wait for it, or remove {note} if it is gone"
    )
