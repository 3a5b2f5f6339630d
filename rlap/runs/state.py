"""Whether a folder holds the run that is wanted, and why (not)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rlap.data import data_digest
from rlap.experiments import records
from rlap.experiments.parameters import ParameterError, Parameters
from rlap.files import digests, paths

# which parts of its identity a record may differ in and still count as done
STALE: dict[str, tuple[str, ...]] = {
    "rerun": (),
    "keep": ("code", "environment"),
    "keep-notebook": ("code", "environment", "notebook"),
}

# notebooks that were rewritten and compute the same, beside the committed records
REWRITTEN = "NOTEBOOKS.json"


def expected_identity(notebook: Path, parameters: Parameters) -> dict[str, str]:
    """The identity that this run will have, before it starts."""
    return records.identity(
        parameters,
        notebook=notebook.stem,
        notebook_code=digests.notebook_digest(notebook),
        data=data_digest(parameters.data_set, **parameters.data_options),
    )


@dataclass(frozen=True)
class State:
    """Whether a folder holds the run that is wanted, and why (not)."""

    done: bool
    why: str
    kept: bool = False  # done, but by other code


def state_of(
    out: Path,
    wanted: Mapping[str, str],
    parameters: Parameters,
    *,
    force: bool = False,
    stale: str = "rerun",
) -> State:
    """What ``out`` holds, measured against the identity that is ``wanted``."""
    if not (out / records.FILE).exists():
        return State(False, "not run yet")
    try:
        record = records.read(out)
    except records.RecordError as error:
        return State(False, f"its record is unusable ({error})")
    if force:
        return State(False, "because it was asked for")
    found = record["identity"]
    changed = changes(record, wanted, parameters)
    if not changed:
        return State(True, f"up to date (run {wanted['id']})")
    if set(changed) <= set(STALE[stale]):
        code = str(found.get("code"))[:7]
        return State(True, f"kept, made with other {', '.join(changed)} ({code})", True)
    return State(False, "because of changed " + ", ".join(changed))


def changes(
    record: Mapping, wanted: Mapping[str, str], parameters: Parameters
) -> list[str]:
    """The parts of a record's identity that are not as ``wanted``."""
    name, found = record["notebook"], dict(record["identity"])
    wanted = dict(wanted)
    for parts in (found, wanted):
        parts["notebook"] = settled(name, parts.get("notebook"))
    kinds = [k for k in wanted if k not in ("id", "parameters")]
    changed = [k for k in kinds if found.get(k) != wanted[k]]
    # their digest is of what was given: it would miss a change of what a tier chooses
    same = same_parameters(record["parameters"], parameters)
    return changed if same else ["parameters", *changed]


def same_parameters(asked: Mapping[str, object], parameters: Parameters) -> bool:
    """Whether a record's parameters mean the same, however they were written.

    One that the record does not know yet counts as its default.
    """
    try:
        then = type(parameters).from_mapping(asked)
    except ParameterError:
        return False
    return resolved(then).identity() == resolved(parameters).identity()


def resolved(parameters: Parameters) -> Parameters:
    """The parameters with the tier's choices filled in, where the notebook has any."""
    fill = getattr(parameters, "resolved", None)
    return fill() if fill else parameters


@cache
def rewritten(path: Path) -> dict[tuple[str, str], str]:
    """The table of rewritten notebooks: (name, digest) -> the digest that it means."""
    if not path.is_file():
        return {}
    entries = json.loads(path.read_text(encoding="utf-8"))
    return {(e["notebook"], e["digest"]): e["means"] for e in entries}


def settled(notebook: str, digest: str) -> str:
    """A notebook's digest, or that of the last rewriting which computes the same."""
    table = dict(rewritten(paths.results_folder() / REWRITTEN))
    while (notebook, digest) in table:
        digest = table.pop((notebook, digest))
    return digest
