"""Folders: the only module that knows where anything lives."""

from __future__ import annotations

import os
from pathlib import Path


def cache_location() -> Path:
    """Name the user's cache folder without creating it.

    Environment variable ``RLAP_CACHE`` if set, else what platformdirs says for
    this operating system, else ``~/.cache/rlap``.
    """
    named = os.environ.get("RLAP_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    try:
        from platformdirs import user_cache_dir
    except ImportError:
        return Path.home() / ".cache" / "rlap"
    return Path(user_cache_dir("rlap", appauthor=False))


def cache_folder() -> Path:
    """Return the user's cache folder, created if it was missing.

    Raises:
        OSError: it cannot be created (the message says what to set).
    """
    folder = cache_location()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"cannot create the cache folder {folder} ({error}); "
            "set RLAP_CACHE to a folder that can be written"
        ) from error
    return folder


def data_folders() -> list[Path]:
    """List the folders searched for data, in order; none is created.

    First the folder named by ``RLAP_DATA`` (only ever read), then the cache.

    Raises:
        NotADirectoryError: ``RLAP_DATA`` names something that is not a folder.
    """
    folders = []
    named = os.environ.get("RLAP_DATA")
    if named:
        folder = Path(named).expanduser().absolute()
        if not folder.is_dir():
            # Going on without it would download what the user already has.
            raise NotADirectoryError(
                f"RLAP_DATA names {folder}, which is not a folder; "
                "correct it or unset it"
            )
        folders.append(folder)
    folders.append(cache_location())
    return folders


def find(name: str) -> Path | None:
    """Return the first file or folder called ``name`` in the data folders."""
    for folder in data_folders():
        if (folder / name).exists():
            return folder / name
    return None


def in_cache(path: Path) -> bool:
    """Say whether ``path`` is ours to rewrite: in the cache, not in RLAP_DATA."""
    named = os.environ.get("RLAP_DATA")
    path = path.resolve()
    if named and path.is_relative_to(Path(named).expanduser().resolve()):
        return False
    return path.is_relative_to(cache_location().resolve())


def checkout() -> Path | None:
    """Return the repository root when the package runs from a checkout."""
    root = Path(__file__).resolve().parents[2]
    if (root / "pyproject.toml").is_file() and (root / "notebooks").is_dir():
        return root
    return None


def results_folder() -> Path:
    """Name the folder of committed records: ``results`` of the checkout, else here."""
    return (checkout() or Path.cwd()) / "results"


def runs_folder() -> Path:
    """Name the folder where a run leaves its record when nobody names one.

    ``RLAP_RUNS`` if set, else ``_build/runs`` of the checkout, else ``./runs``.
    """
    named = os.environ.get("RLAP_RUNS")
    if named:
        return Path(named).expanduser().absolute()
    root = checkout()
    return root / "_build" / "runs" if root else Path.cwd() / "runs"


def networks_folder(code: str) -> Path | None:
    """Return where runs of the package version ``code`` share trained networks, made if
    it was missing; None unless ``RLAP_NETWORKS`` names a folder for them."""
    named = os.environ.get("RLAP_NETWORKS")
    if not named:
        return None
    folder = Path(named).expanduser().absolute() / code
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def constraints_file() -> Path | None:
    """Return the checkout's ``constraints.txt`` (pinned versions) if there is one."""
    root = checkout()
    if root is None or not (root / "constraints.txt").is_file():
        return None
    return root / "constraints.txt"
