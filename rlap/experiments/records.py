"""Records: one JSON file a run, with everything that a figure or a verdict needs.

A record says what was asked (parameters), what was measured (arms, partition, seconds)
and where it comes from (provenance). Its identity is a hash of parameters, notebook,
code, data and environment: two records with one identity are the same run. Its digest
covers all of it, so that a number changed by hand is noticed.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path

import torch

import rlap
from rlap.data import Dataset
from rlap.experiments.forgetting import ready
from rlap.experiments.parameters import NOTEBOOKS, Parameters
from rlap.files import paths
from rlap.files.digests import code_digest, notebook_digest, sha
from rlap.files.download import atomic

SCHEMA = 1
FILE = "record.json"
LIBRARIES = ("torch", "numpy", "scikit-learn")


class RecordError(ValueError):
    """A record that is missing, damaged or not what it says it is."""


def environment() -> dict[str, str]:
    """Versions of what computes the numbers, and the kind of device."""
    found = {name: metadata.version(name) for name in LIBRARIES}
    found["python"] = platform.python_version()
    found["device"] = "cuda" if torch.cuda.is_available() else "cpu"
    return found


def identity(
    parameters: Parameters, *, notebook: str, notebook_code: str, data: str
) -> dict[str, str]:
    """The parts that identify a run, each a short digest, and their "id"."""
    asked = json.dumps(parameters.identity(), sort_keys=True)
    parts = {
        "parameters": sha(notebook, asked),
        "notebook": notebook_code,
        "code": code_digest(),
        "data": data[:16],
        "environment": sha(json.dumps(environment(), sort_keys=True)),
    }
    return {"id": sha(*parts.values()), **parts}


def provenance() -> dict[str, object]:
    """Commit (and whether the tree was dirty), versions, machine and time."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_name()
    return {
        "rlap": rlap.__version__,
        **code_state(),
        "environment": environment(),
        "device": device,
        "threads": torch.get_num_threads(),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def code_state() -> dict[str, object]:
    """The commit, and whether the tree was dirty."""
    root = paths.checkout()
    commit, dirty = git_state(root) if root else ("unknown", None)
    return {"commit": commit, "dirty": dirty}


def git_state(root: Path) -> tuple[str, bool | None]:
    """Short commit and whether anything but results/ differs from it (a sweep that runs
    committed settings again rewrites records as it goes); "unknown" without git."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, timeout=10
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "--short=10", "HEAD")
        return commit or "unknown", bool(
            git("status", "--porcelain", "-uno", "--", ".", ":!results")
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown", None


def cpu_name() -> str:
    """The processor's name as the system gives it, and its number of cores."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    return f"{name}, {os.cpu_count()} cores"


def data_section(data: Dataset) -> dict[str, object]:
    """What a record says about the data that were used."""
    return {
        "name": data.name,
        "source": data.source,
        "digest": data.digest,
        "stand_in": data.stand_in,
        "banner": data.banner,
        "n_train": len(data.train),
        "n_test": len(data.test),
    }


def new_record(
    parameters: Parameters,
    *,
    notebook: str,
    data: Dataset,
    protocol: str,
    measured: Mapping[str, object],
) -> dict[str, object]:
    """A complete record: what was asked, measured, and where it comes from."""
    root = paths.checkout()
    path = root / "notebooks" / f"{notebook}.ipynb" if root else None
    asked = parameters.identity()
    return {
        "schema": SCHEMA,
        "notebook": notebook,
        "identity": identity(
            parameters,
            notebook=notebook,
            notebook_code=notebook_digest(path),
            data=data.digest,
        ),
        "protocol": protocol,
        "tier": asked.get("tier"),
        "seed": asked.get("seed"),
        "parameters": asked,
        "data": data_section(data),
        **measured,
        "provenance": provenance() | ready.provenance(parameters),
    }


def write(record: Mapping[str, object], folder: str | Path) -> Path:
    """Write ``record.json`` into ``folder`` (made if missing), whole or not at all.

    The digest of its content is added. Raises ``RecordError`` when a number in it is
    NaN or infinite.
    """
    path = Path(folder) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        whole = rounded(record)
        whole["digest"] = content_digest(whole)
        text = a_line_each(whole)
    except ValueError as error:
        raise RecordError(
            f"the record holds NaN or infinite numbers: {error}"
        ) from error
    with atomic(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


def a_line_each(record: Mapping[str, object]) -> str:
    """JSON with a line for each entry of a section, such as an arm: a diff shows what
    changed, and a record is a quarter smaller than with a line for each number.

    >>> print(a_line_each({"seed": 0, "arms": {"retrain": {"accuracy": 0.5}}}))
    {
     "seed": 0,
     "arms": {
      "retrain": {"accuracy": 0.5}
     }
    }
    """
    dumped = partial(json.dumps, allow_nan=False)
    sections = []
    for name, section in record.items():
        text = dumped(section)
        if isinstance(section, Mapping) and section:
            entries = (f"  {dumped(k)}: {dumped(v)}" for k, v in section.items())
            text = "{\n" + ",\n".join(entries) + "\n }"
        sections.append(f" {dumped(name)}: {text}")
    return "{\n" + ",\n".join(sections) + "\n}"


def content_digest(record: Mapping[str, object]) -> str:
    """Digest of everything in a record but the digest itself; key order is free.

    Raises ``ValueError`` when a number in it is NaN or infinite.
    """
    content = {k: v for k, v in record.items() if k != "digest"}
    return sha(json.dumps(content, sort_keys=True, allow_nan=False))


def rounded(value: object, digits: int = 6) -> object:
    """``value`` with floats to six significant digits: small files, honest figures."""
    if isinstance(value, Mapping):
        return {str(k): rounded(v, digits) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v, digits) for v in value]
    if isinstance(value, float) and math.isfinite(value) and value != 0:
        return float(f"{value:.{digits}g}")
    return value


def read(path: str | Path) -> dict[str, object]:
    """Read a record (a file, or its folder); ``RecordError`` says what is wrong: it
    cannot be read, was changed, or is not what a run of this version could have left.

    The first records were written without a digest; theirs is in the manifest.
    """
    path = Path(path)
    path = path / FILE if path.is_dir() else path
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        digest = content_digest(record) if isinstance(record, dict) else None
    except FileNotFoundError as error:
        raise RecordError(f"there is no record at {path}") from error
    # RecursionError: nested too deeply; ValueError: not JSON, or a number not finite
    except (ValueError, RecursionError, OSError) as error:
        raise RecordError(f"{path} is not a record: {error}") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise RecordError(f"{path} is not a record of schema {SCHEMA}")
    if record.get("digest", digest) != digest:
        raise RecordError(f"{path} was changed after it was written")
    try:
        check_shape(record)
    except (ValueError, TypeError) as error:
        raise RecordError(f"{path} is no record of this version: {error}") from error
    return record


# what every reader relies on: the kind of each part, and of what is in it
SHAPE = {
    "notebook": (str, None),
    "protocol": (str, None),
    "identity": (dict, str),
    "parameters": (dict, None),
    "data": (dict, None),
    "arms": (dict, dict),
    "seconds": (dict, int | float),
    "provenance": (dict, None),
}


def check_shape(record: Mapping[str, object]) -> None:
    """Raise an error that says which part of a record is missing, of the wrong kind, or
    has a value that its notebook does not know. (Parameters that its notebook has no
    more are left alone: it had them when the record was made.)"""
    for name, (kind, inner) in SHAPE.items():
        part = record.get(name)
        if not isinstance(part, kind):
            raise TypeError(f"{name} is {part!r:.40}, not of type {kind.__name__}")
        for key, value in part.items() if inner else ():
            if not isinstance(value, inner):
                raise TypeError(f"{name}: {key!r} is {value!r:.40}")
    if not isinstance(record["data"].get("stand_in"), bool):
        raise TypeError("data does not say whether they stand in for others")
    if record["notebook"] not in NOTEBOOKS:
        raise ValueError(f"there is no notebook {record['notebook']!r}")
    kind, asked = NOTEBOOKS[record["notebook"]], record["parameters"]
    kind.from_mapping({name: asked[name] for name in kind.names() if name in asked})


def read_all(folder: str | Path) -> list[dict[str, object]]:
    """Every record under ``folder``, in the order of their paths.

    Folders with a leading dot are left out: runs that are not complete. Raises
    ``RecordError`` when two of them are the same run.
    """
    folder = Path(folder)
    found = [
        read(path)
        for path in sorted(folder.rglob(FILE))
        if not any(p.startswith(".") for p in path.relative_to(folder).parts)
    ]
    seen: set[str] = set()
    for record in found:
        name = record["identity"]["id"]
        if name in seen:
            raise RecordError(f"the run {name} is recorded twice under {folder}")
        seen.add(name)
    return found


def precision_of(record: Mapping) -> str:
    """What its networks were trained in: "bf16" if any was, else "fp32"; empty if it
    does not say. Forgetting is always "fp32"
    (``rlap.experiments.forgetting.ground.RECIPE``).
    """
    if record["protocol"] == "forgetting":
        return "fp32"
    histories = (arm["history"] for arm in record["arms"].values() if "history" in arm)
    return min((history["precision"] for history in histories), default="")
