"""``rlap run``: one notebook, one folder, one record; idempotent.

The notebook is executed into a temporary folder that is renamed when it is complete, so
a killed run leaves no half record. A lock with the process id keeps two runs out of one
folder. What is done is skipped, and a run that is repeated says why.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rlap.data import data_digest
from rlap.experiments import records
from rlap.experiments.parameters import NOTEBOOKS, ParameterError, Parameters

EXECUTED = "notebook.ipynb"


class RunLocked(RuntimeError):
    """Another living process is writing this folder."""


class RunFailed(RuntimeError):
    """The notebook stopped with an error."""


def run(
    notebook: str | Path,
    out: str | Path,
    given: Mapping[str, object] | None = None,
    *,
    force: bool = False,
    say=print,
) -> dict[str, object]:
    """Execute ``notebook`` with parameters into ``out``; returns the record.

    Args:
        notebook: path of an .ipynb with a cell tagged ``parameters``.
        out: folder that will hold record.json and the executed notebook.
        given: parameters that differ from the cell's defaults.
        force: run again even when ``out`` holds this very run.
        say: called with one line at a time.

    Raises ``ParameterError``, ``RunLocked``, ``RunFailed`` or ``FileNotFoundError``.
    """
    notebook, out = Path(notebook), Path(out)
    parameters = check_parameters(notebook, given or {})
    wanted = expected_identity(notebook, parameters)
    with lock(out):
        reason = why_run(out, wanted, force)
        if reason is None:
            say(f"{out}: up to date (run {wanted['id']})")
            return records.read(out)
        say(f"{out}: running {notebook.name}, {reason}")
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


def expected_identity(notebook: Path, parameters: Parameters) -> dict[str, str]:
    """The identity that this run will have, before it starts."""
    return records.identity(
        parameters,
        notebook=notebook.stem,
        notebook_code=records.notebook_digest(notebook),
        data=data_digest(parameters.data_set, **parameters.data_options),
    )


def why_run(out: Path, wanted: Mapping[str, str], force: bool) -> str | None:
    """Why ``out`` has to be (re)made, or None when it holds this very run."""
    if not (out / records.FILE).exists():
        return "not run yet"
    try:
        found = records.read(out)["identity"]
    except (records.RecordError, KeyError) as error:
        return f"its record is unusable ({error})"
    changed = [k for k in wanted if k != "id" and found.get(k) != wanted[k]]
    if changed:
        return "because of changed " + ", ".join(changed)
    return "because it was asked for" if force else None


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
    try:
        papermill.execute_notebook(
            str(notebook),
            str(temporary / EXECUTED),
            parameters={**given, "out": str(temporary.resolve())},
            kernel_name="python3",
            progress_bar=False,
        )
        record = records.read(temporary)
    except PapermillExecutionError as error:
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
    record["identity"]["id"] = records.sha(*parts)
    records.write(record, temporary)
    replace_folder(temporary, out)
    return record


def replace_folder(new: Path, out: Path) -> None:
    """Put ``new`` in the place of ``out``; the old one goes only afterwards."""
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    if out.exists():
        os.replace(out, old)
    os.replace(new, out)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def lock(out: Path) -> Iterator[None]:
    """Hold ``.NAME.lock`` beside ``out``; a lock of a dead process is taken over.

    Raises ``RunLocked`` when its holder lives (or runs on another host).
    """
    path = out.with_name(f".{out.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = f"{os.getpid()} {socket.gethostname()}"
    for _ in range(2):
        try:
            with open(path, "x", encoding="utf-8") as file:
                file.write(mine)
            break
        except FileExistsError:
            holder = path.read_text(encoding="utf-8").split()
            if holder_lives(holder):
                raise RunLocked(
                    f"{out} is being written by process {' on '.join(holder)}; "
                    f"wait for it, or remove {path} if it is gone"
                ) from None
            path.unlink(missing_ok=True)
    else:
        raise RunLocked(f"{out} is being written by another process")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def holder_lives(holder: list[str]) -> bool:
    """Whether the process in a lock file (pid, host) may still be running."""
    if len(holder) != 2 or not holder[0].isdigit():
        return False
    if holder[1] != socket.gethostname():
        return True  # cannot be asked from here
    try:
        os.kill(int(holder[0]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
