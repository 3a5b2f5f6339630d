"""A lock on a run's folder that the operating system frees when its holder dies.

The lock is on the open file, not in the file's existence: a killed process leaves no
lock behind, two that start at once cannot both win, and the number of a process that
has died may be used again by another. The text in the file only serves the message.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

# Windows locks bytes and not files: one far behind the text, which others may read
FAR = 1 << 20


class RunLocked(RuntimeError):
    """Another living process is writing this folder."""


@contextmanager
def lock(out: Path) -> Iterator[None]:
    """Hold ``.NAME.lock`` beside ``out``; the folder above ``out`` is made if missing.

    Raises ``RunLocked`` when another process holds it, or when its text names another
    host: not every network file system tells one host what another has locked.
    """
    path = out.with_name(f".{out.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    file = claim(path, out)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows does not remove an open file; it may stay
            path.unlink()
        os.close(file)


def claim(path: Path, out: Path) -> int:
    """The open lock file, locked by this process and named after it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            won, holder = seize(file), os.read(file, 300).decode().split()
            host = holder[1] if len(holder) == 2 else socket.gethostname()
            if not won or host != socket.gethostname():
                who = f"process {' on '.join(holder)}" if holder else "another process"
                raise RunLocked(
                    f"{out} is being written by {who}; "
                    f"wait for it, or remove {path} if it is gone"
                )
            if is_at(file, path):
                os.ftruncate(file, 0)
                os.lseek(file, 0, os.SEEK_SET)
                os.write(file, f"{os.getpid()} {socket.gethostname()}".encode())
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # its holder ended and removed it between our two steps


def seize(file: int) -> bool:
    """Lock an open file unless another process has; the system frees it at the end."""
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            os.lseek(file, FAR, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
            os.lseek(file, 0, os.SEEK_SET)
    except (BlockingIOError, PermissionError):
        return False
    return True


def is_at(file: int, path: Path) -> bool:
    """Whether ``path`` still is the open file, not a newer one of the same name."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
