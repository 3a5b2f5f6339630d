"""The folder of a run: what may be there before it, and how it is replaced whole."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from rlap.experiments import records

EXECUTED = "notebook.ipynb"
OWN = (records.FILE, EXECUTED)  # what a run leaves


class FolderInUse(ValueError):
    """The folder named for a run holds something else, which would be lost."""


def check_place(out: Path) -> None:
    """Raise ``FolderInUse`` unless ``out``, and the folder for a run of it that fails,
    are new or hold nothing but what a run leaves."""
    if out.resolve() in (Path.cwd(), *Path.cwd().parents):
        raise FolderInUse(f"{out} is the working folder or above it: name another one")
    for place in (out, failed_folder(out)):
        kind = "a symbolic link" if place.is_symlink() else "a file"
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise FolderInUse(f"{place} is {kind}, and a run needs a folder")
        if os.path.ismount(place):
            raise FolderInUse(f"{place} is a mount point: name a folder in it")
        for inside in sorted(place.iterdir()) if place.is_dir() else ():
            if inside.name not in OWN or not inside.is_file() or inside.is_symlink():
                raise FolderInUse(
                    f"{place} holds {inside.name}, which no run has left there; take "
                    "another folder, for what is in it would be lost"
                )


def failed_folder(out: Path) -> Path:
    """Where the notebook of a run that failed is kept."""
    return out.with_name(f"{out.name}.failed")


def replace_folder(new: Path, out: Path) -> None:
    """Put ``new`` in the place of ``out``; the old one goes only afterwards."""
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    if out.exists():
        os.replace(out, old)
    os.replace(new, out)
    shutil.rmtree(old, ignore_errors=True)


def leftovers(out: Path) -> dict[str, list[Path]]:
    """What runs of ``out`` keep beside it while they work: {"tmp"|"new"|"old": ...}."""
    named = re.compile(rf"\.{re.escape(out.name)}\.\d+\.(tmp|new|old)")
    found: dict[str, list[Path]] = {}
    for path in sorted(out.parent.iterdir() if out.parent.is_dir() else ()):
        if match := named.fullmatch(path.name):
            found.setdefault(match[1], []).append(path)
    return found


def recover(out: Path) -> None:
    """Finish or clear what killed runs of ``out`` left; the caller holds its lock."""
    left = leftovers(out)
    for complete in left.get("new", []):
        replace_folder(complete, out)
    for path in left.get("tmp", []) + left.get("old", []):
        shutil.rmtree(path, ignore_errors=True)
