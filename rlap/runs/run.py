"""``rlap run``: one notebook, one folder, one record; idempotent.

The notebook is executed into a temporary folder that is renamed when it is complete, so
a killed run leaves no half record, and the next one clears what it left. A lock keeps
two runs out of one folder. What is done is skipped, and what is repeated says why.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rlap.experiments import records
from rlap.experiments.parameters import NOTEBOOKS, ParameterError, Parameters
from rlap.files import digests
from rlap.runs.locks import RunLocked, lock
from rlap.runs.state import expected_identity, state_of

__all__ = ["RunFailed", "RunLocked", "lock", "run"]

EXECUTED = "notebook.ipynb"


# glibc gives every large block back to the system at once, and the pages of the next
# have to be made anew: with the 85 MB activations of the padded speech features two
# thirds of the time of a training step. Other systems ignore these.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**34)}


class RunFailed(RuntimeError):
    """The notebook stopped with an error."""


def run(
    notebook: str | Path,
    out: str | Path,
    given: Mapping[str, object] | None = None,
    *,
    force: bool = False,
    stale: str = "rerun",
    say=print,
) -> dict[str, object]:
    """Execute ``notebook`` with parameters into ``out``; returns the record.

    Args:
        notebook: path of an .ipynb with a cell tagged ``parameters``.
        out: folder that will hold record.json and the executed notebook.
        given: parameters that differ from the cell's defaults.
        force: run again even when ``out`` holds this very run.
        stale: "rerun" what other code made, "keep" it, or "keep-notebook": keep it even
            when the code of the notebook has changed.
        say: called with one line at a time.

    Raises ``ParameterError``, ``RunLocked``, ``RunFailed`` or ``FileNotFoundError``.
    """
    notebook, out = Path(notebook), Path(out)
    parameters = check_parameters(notebook, given or {})
    wanted = expected_identity(notebook, parameters)
    with lock(out):
        recover(out)
        state = state_of(out, wanted, parameters, force=force, stale=stale)
        if state.done:
            say(f"{out}: {state.why}")
            return records.read(out)
        say(f"{out}: running {notebook.name}, {state.why}")
        record = execute(notebook, out, given or {}, wanted)
    arms = record.get("arms", {})
    shown = ", ".join(f"{k} {v['accuracy']:.4f}" for k, v in arms.items())
    say(f"{out}: done{'; ' + shown if shown else ''}")
    return record


def check_parameters(notebook: Path, given: Mapping[str, object]) -> Parameters:
    """The run's parameters as the notebook will see them, checked beforehand."""
    if not notebook.is_file():
        raise FileNotFoundError(f"there is no notebook {notebook}")
    if notebook.stem not in NOTEBOOKS:
        raise ParameterError(
            f"{notebook.name} leaves no record; these do: {sorted(NOTEBOOKS)} "
            "(papermill executes any notebook)"
        )
    if "out" in given:
        raise ParameterError("'out' is set by --out; leave it out of -p")
    kind = NOTEBOOKS[notebook.stem]
    return kind.from_mapping({**cell_defaults(notebook, kind), **given})


def cell_defaults(notebook: Path, kind: type[Parameters]) -> dict[str, object]:
    """What the notebook's own parameter cell sets (it may have been edited)."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    tagged = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise ParameterError(f"{notebook.name} needs one cell tagged 'parameters'")
    namespace: dict[str, object] = {}
    exec("".join(tagged[0]["source"]), {}, namespace)
    for name in namespace:
        kind.check_name(name)
    return {k: v for k, v in namespace.items() if k != "out"}


def execute(
    notebook: Path,
    out: Path,
    given: Mapping[str, object],
    wanted: Mapping[str, str],
) -> dict[str, object]:
    """Run papermill into a temporary folder and rename it to ``out``."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    out.parent.mkdir(parents=True, exist_ok=True)
    # the process id: a kernel that outlives a killed run keeps writing elsewhere
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    failed = out.with_name(f"{out.name}.failed")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(failed, ignore_errors=True)
    temporary.mkdir()
    started = time.perf_counter()
    state = records.code_state()  # of the code that runs: it may change meanwhile
    try:
        with environment(KEEP_MEMORY):  # the kernel inherits it
            papermill.execute_notebook(
                str(notebook),
                str(temporary / EXECUTED),
                parameters={**given, "out": str(temporary.resolve())},
                kernel_name="python3",
                progress_bar=False,
            )
        record = records.read(temporary)
    except PapermillExecutionError as error:
        (temporary / records.FILE).unlink(missing_ok=True)  # failed: no result
        os.replace(temporary, failed)
        raise RunFailed(
            f"{notebook.name} failed: {error.ename}: {error.evalue} "
            f"(see {failed / EXECUTED})"
        ) from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if record["identity"]["data"] != wanted["data"]:
        record["data"]["changed"] = "not the data expected when the run started"
    record["identity"] = {**wanted, "data": record["identity"]["data"]}
    parts = [v for k, v in record["identity"].items() if k != "id"]
    record["identity"]["id"] = digests.sha(*parts)
    # with the start of the kernel, and whatever else ran beside it: what a run costs
    record["provenance"] |= state
    record["provenance"]["wall_seconds"] = time.perf_counter() - started
    records.write(record, temporary)
    complete = out.with_name(f".{out.name}.{os.getpid()}.new")
    os.replace(temporary, complete)  # from here on a kill loses nothing: see recover
    replace_folder(complete, out)
    return record


@contextmanager
def environment(usual: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the time being, where they are not set already."""
    new = [name for name in usual if name not in os.environ]
    os.environ.update({name: usual[name] for name in new})
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]


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
