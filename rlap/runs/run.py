"""``rlap run``: one notebook, one folder, one record; idempotent.

The notebook is executed into a temporary folder that is renamed when it is complete, so
a killed run leaves no half record, and the next one clears what it left. A lock keeps
two runs out of one folder. What is done is skipped, and what is repeated says why. What
is not a run's own is never replaced, nor a record of real data by one of stand-ins.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rlap.data import DataUnavailable, available, load
from rlap.experiments import records
from rlap.experiments.parameters import NOTEBOOKS, ParameterError, Parameters
from rlap.experiments.records import RecordError
from rlap.files import digests
from rlap.runs import KEEP_MEMORY
from rlap.runs.folders import (
    EXECUTED,
    FolderInUse,
    check_place,
    failed_folder,
    recover,
    replace_folder,
)
from rlap.runs.locks import RunLocked, lock
from rlap.runs.state import expected_identity, same_parameters, state_of

__all__ = ["RunFailed", "RunLocked", "lock", "run"]

KEPT = "a record of real data, which no record of stand-ins may replace"


class RunFailed(RuntimeError):
    """The notebook stopped with an error."""


def run(
    notebook: str | Path,
    out: str | Path,
    given: Mapping[str, object] | None = None,
    *,
    force: bool = False,
    replace: bool = False,
    stale: str = "rerun",
    say=print,
) -> dict[str, object]:
    """Execute ``notebook`` with parameters into ``out``; returns the record.

    Args:
        notebook: path of an .ipynb with a cell tagged ``parameters``.
        out: folder that will hold record.json and the executed notebook, and nothing
            else.
        given: parameters that differ from the cell's defaults.
        force: run again even when ``out`` holds this very run.
        replace: run even when ``out`` holds a run with other parameters.
        stale: "rerun" what other code made, "keep" it, or "keep-notebook": keep it even
            when the code of the notebook has changed.
        say: called with one line at a time.

    Raises ``ParameterError``, ``RunLocked``, ``RunFailed``, ``FileNotFoundError``,
    ``FolderInUse`` when ``out`` is no place for a run, or ``DataUnavailable`` when
    stand-ins would replace real data.
    """
    notebook, out = Path(notebook), Path(out)
    parameters = check_parameters(notebook, given or {})
    check_place(out)
    wanted = expected_identity(notebook, parameters)
    with lock(out):
        recover(out)
        state = state_of(out, wanted, parameters, force=force, stale=stale)
        if state.done:
            say(f"{out}: {state.why}")
            return records.read(out)
        before = record_in(out)
        if before and not replace and not same_run(before, notebook, parameters):
            raise FolderInUse(
                f"{out} holds a run with other parameters; take another folder, or "
                "say --replace to lose it"
            )
        real = before is not None and not before["data"]["stand_in"]
        if real:
            check_real_data(out, parameters)
        say(f"{out}: running {notebook.name}, {state.why}")
        record = execute(notebook, out, given or {}, wanted, real=real)
    arms = record.get("arms", {})
    shown = ", ".join(f"{k} {v['accuracy']:.4f}" for k, v in arms.items())
    say(f"{out}: done{'; ' + shown if shown else ''}")
    return record


def record_in(out: Path) -> dict[str, object] | None:
    """The record of ``out``, if there is one that can be read."""
    try:
        return records.read(out)
    except RecordError:
        return None


def same_run(before: Mapping, notebook: Path, parameters: Parameters) -> bool:
    """Whether a record is of this notebook with these parameters."""
    same = same_parameters(before["parameters"], parameters)
    return same and before["notebook"] == notebook.stem


def check_real_data(out: Path, parameters: Parameters) -> None:
    """Raise ``DataUnavailable`` unless a run would have real data, which are fetched
    here where the run would fetch them."""
    name, options = parameters.data_set, parameters.data_options
    try:
        if available(name, **options) is None:
            load(name, train_size=10, test_size=10, allow_stand_in=False, **options)
    except DataUnavailable as error:
        raise DataUnavailable(f"{out} holds {KEPT}. {error}") from error


def check_parameters(notebook: Path, given: Mapping[str, object]) -> Parameters:
    """The run's parameters as the notebook will see them, checked beforehand."""
    if notebook.suffix != ".ipynb":
        there = notebook.with_suffix(".ipynb")
        hint = f": did you mean {there}?" if there.is_file() else ""
        raise ParameterError(f"{notebook} is not a notebook (.ipynb){hint}")
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
    """What the notebook's own parameter cell sets (it may have been edited).

    The cell is read, not run: each of its lines gives a name a value as it stands.
    """
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        tagged = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
    except (ValueError, KeyError, TypeError) as error:
        raise ParameterError(f"{notebook} cannot be read as a notebook") from error
    if len(tagged) != 1:
        raise ParameterError(f"{notebook.name} needs one cell tagged 'parameters'")
    values: dict[str, object] = {}
    try:
        for line in ast.parse("".join(tagged[0]["source"])).body:
            if not isinstance(line, ast.Assign) or len(line.targets) != 1:
                raise ValueError(ast.unparse(line))
            values[ast.unparse(line.targets[0])] = ast.literal_eval(line.value)
    except (ValueError, SyntaxError) as error:
        raise ParameterError(
            f"the parameter cell of {notebook.name} may only hold lines such as "
            f"'rate = 0.5', a name and a value as it stands ({error})"
        ) from error
    for name in values:
        kind.check_name(name)
    return {k: v for k, v in values.items() if k != "out"}


def execute(
    notebook: Path,
    out: Path,
    given: Mapping[str, object],
    wanted: Mapping[str, str],
    *,
    real: bool = False,
) -> dict[str, object]:
    """Run papermill into a temporary folder and rename it to ``out``; where what is
    there is of ``real`` data, only for another of real data."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    out.parent.mkdir(parents=True, exist_ok=True)
    # the process id: a kernel that outlives a killed run keeps writing elsewhere
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    failed = failed_folder(out)
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
        if real and record["data"]["stand_in"]:
            raise DataUnavailable(f"{out} holds {KEPT}; set RLAP_DATA to their folder")
    except PapermillExecutionError as error:
        failed.mkdir()  # for the notebook alone: what failed left no result
        os.replace(temporary / EXECUTED, failed / EXECUTED)
        shutil.rmtree(temporary, ignore_errors=True)
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
