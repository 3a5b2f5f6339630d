"""`rlap run`: idempotent, locked, atomic, and clear about what went wrong."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import nbformat
import pytest

from rlap.data import DataUnavailable
from rlap.experiments import records
from rlap.experiments.parameters import (
    Cifar10Parameters,
    ParameterError,
    SpeechParameters,
)
from rlap.runs.folders import FolderInUse
from rlap.runs.run import RunFailed, RunLocked, lock, run
from rlap.runs.state import expected_identity
from rlap_command import main

# stands for notebook 01: the same parameters, a record at once, and a way to fail
BODY = """
from pathlib import Path
import rlap
from rlap.experiments import records
from rlap.experiments.parameters import Cifar10Parameters
run = Cifar10Parameters.from_notebook(globals())
data = rlap.load("digits")
counter = Path(run.out).parent / "executions.txt"
counter.write_text(counter.read_text() + "x" if counter.exists() else "x")
assert run.seed != 13, "unlucky"
arms = {"initial": {"accuracy": run.rate}}
record = records.new_record(run, notebook="01_cifar10", data=data,
                            protocol="controlled",
                            measured={"arms": arms, "seconds": {}})
record["data"]["stand_in"] = False
record["identity"]["data"] = rlap.data.data_digest("cifar10")[:16]
records.write(record, run.out)
"""
REAL = Path(__file__).parents[2] / "notebooks" / "01_cifar10.ipynb"


@pytest.fixture
def notebook(tmp_path) -> Path:
    book = nbformat.read(REAL, as_version=4)
    book.cells = [c for c in book.cells if "parameters" in c.metadata.get("tags", [])]
    book.cells.append(nbformat.v4.new_code_cell(BODY))
    path = tmp_path / "01_cifar10.ipynb"
    nbformat.write(book, path)
    return path


def executions(out: Path) -> int:
    path = out.parent / "executions.txt"
    return len(path.read_text()) if path.exists() else 0


def leftovers(out: Path) -> list[str]:
    return [p.name for p in out.parent.iterdir() if p.name.startswith(".")]


def test_runs_once_then_skips_then_says_why_again(notebook, tmp_path):
    out, said = tmp_path / "runs" / "a", []
    record = run(notebook, out, {"seed": 2, "rate": 0.25}, say=said.append)
    assert record["arms"]["initial"]["accuracy"] == 0.25
    assert sorted(p.name for p in out.iterdir()) == ["notebook.ipynb", "record.json"]
    assert records.read(out)["parameters"]["seed"] == 2
    assert leftovers(out) == []
    run(notebook, out, {"seed": 2, "rate": 0.25}, say=said.append)
    assert executions(out) == 1
    assert "up to date" in said[-1]
    with pytest.raises(FolderInUse, match="other parameters.*--replace"):
        run(notebook, out, {"seed": 3, "rate": 0.25}, say=said.append)
    assert executions(out) == 1
    run(notebook, out, {"seed": 3, "rate": 0.25}, replace=True, say=said.append)
    assert executions(out) == 2
    assert any("because of changed parameters" in line for line in said)
    assert records.read(out)["parameters"]["seed"] == 3
    run(notebook, out, {"seed": 3, "rate": 0.25}, force=True, say=said.append)
    assert executions(out) == 3


def test_a_changed_notebook_and_a_damaged_record_run_again(notebook, tmp_path):
    out, said = tmp_path / "runs" / "a", []
    run(notebook, out, say=said.append)
    book = nbformat.read(notebook, as_version=4)
    book.cells.append(nbformat.v4.new_code_cell("more = 1"))
    nbformat.write(book, notebook)
    run(notebook, out, say=said.append)
    assert any("because of changed notebook" in line for line in said)
    (out / "record.json").write_text("{")
    run(notebook, out, say=said.append)
    assert any("its record is unusable" in line for line in said)
    assert executions(out) == 3


def test_a_failing_run_keeps_its_notebook_and_the_old_record(notebook, tmp_path):
    out = tmp_path / "runs" / "a"
    run(notebook, out, {"seed": 1}, say=lambda line: None)
    with pytest.raises(RunFailed, match="AssertionError: unlucky"):
        run(notebook, out, {"seed": 13}, replace=True, say=lambda line: None)
    assert records.read(out)["parameters"]["seed"] == 1
    failed = out.with_name("a.failed") / "notebook.ipynb"
    assert "unlucky" in failed.read_text()
    assert leftovers(out) == []


def test_what_a_killed_run_left_does_not_stand_in_the_way(notebook, tmp_path):
    out = tmp_path / "runs" / "a"
    half = out.with_name(f".a.{os.getpid()}.tmp")
    half.mkdir(parents=True)
    (half / "record.json").write_text("{")
    dead = 2**22 + 1  # above the largest process id that Linux gives
    out.with_name(".a.holder").write_text(f"{dead} {socket.gethostname()}")
    run(notebook, out, say=lambda line: None)
    assert records.read(out)["schema"] == 1
    assert leftovers(out) == []


def test_a_run_that_was_killed_while_it_moved_is_not_lost(notebook, tmp_path):
    out, said = tmp_path / "runs" / "a", []
    record = run(notebook, out, {"seed": 5}, say=said.append)
    # killed before the first move, and between the two: the new one is complete
    for before in (None, "old"):
        os.replace(out, out.with_name(".a.77.new"))
        if before:
            out.with_name(".a.77.old").mkdir()
        else:
            out.mkdir()
        neighbour = out.with_name(".a.5.77.tmp")  # of a run called a.5
        neighbour.mkdir()
        again = run(notebook, out, {"seed": 5}, say=said.append)
        assert again["identity"] == record["identity"]
        assert "up to date" in said[-1]
        assert leftovers(out) == [neighbour.name]
        neighbour.rmdir()
    assert executions(out) == 1
    assert record["provenance"]["wall_seconds"] > 0


def test_a_kernel_keeps_its_memory_unless_told_otherwise(
    notebook, tmp_path, monkeypatch
):
    name = "MALLOC_MMAP_MAX_"
    body = "import os; told = Path(run.out).with_name('told')\n"
    body += f"told.write_text(os.environ['{name}'])"
    book = nbformat.read(notebook, as_version=4)
    book.cells.append(nbformat.v4.new_code_cell(body))
    nbformat.write(book, notebook)
    monkeypatch.delenv(name, raising=False)
    for own, told in ((None, "0"), ("7", "7")):
        if own:
            monkeypatch.setenv(name, own)
        out = tmp_path / told / "a"
        run(notebook, out, {"seed": 5}, say=lambda line: None)
        assert (out.parent / "told").read_text() == told
        assert os.environ.get(name) == own


def test_the_commit_is_that_of_the_start(notebook, tmp_path, monkeypatch):
    """Whoever commits while a sweep runs must not be taken for what was run."""
    states = iter([{"commit": "start", "dirty": False}, {"commit": "end", "dirty": 1}])
    monkeypatch.setattr(records, "code_state", lambda: next(states))
    record = run(notebook, tmp_path / "a", {"seed": 5}, say=lambda line: None)
    assert (record["provenance"]["commit"], record["provenance"]["dirty"]) == (
        "start", False,
    )  # fmt: skip


def test_two_runs_of_one_folder_exclude_each_other(notebook, tmp_path):
    out = tmp_path / "runs" / "a"
    with lock(out), pytest.raises(RunLocked, match=f"process {os.getpid()}"):
        run(notebook, out, say=lambda line: None)
    assert not out.exists()
    out.with_name(".a.holder").write_text("1 another-host")
    with pytest.raises(RunLocked, match="another-host"):
        run(notebook, out, say=lambda line: None)


@pytest.mark.parametrize("inside", ["01_cifar10/", "notes.txt", "record.json/"])
def test_a_folder_with_anything_else_in_it_is_never_replaced(
    notebook, tmp_path, inside
):
    out = tmp_path / "results"
    foreign = out / inside
    (foreign if inside.endswith("/") else foreign.parent).mkdir(parents=True)
    if not inside.endswith("/"):
        foreign.write_text("mine")
    with pytest.raises(FolderInUse, match=f"holds {foreign.name}"):
        run(notebook, out, replace=True, force=True)
    assert foreign.exists()
    assert not list(out.parent.glob(".results*"))
    # nor is what lies where the notebook of a failed run would go
    with pytest.raises(FolderInUse, match=f"results.failed holds {foreign.name}"):
        os.rename(out, out.with_name("results.failed"))
        run(notebook, out)


def test_a_place_that_is_no_folder_of_ours_is_refused(notebook, tmp_path, monkeypatch):
    out = tmp_path / "a"
    out.write_text("mine")
    with pytest.raises(FolderInUse, match="is a file"):
        run(notebook, out)
    (tmp_path / "there").mkdir()
    for target in (tmp_path / "there", tmp_path / "absent"):
        out.unlink()
        out.symlink_to(target)
        with pytest.raises(FolderInUse, match="symbolic link"):
            run(notebook, out)
    monkeypatch.chdir(tmp_path / "there")
    for place in (".", "..", tmp_path, tmp_path / "there", "/"):
        with pytest.raises(FolderInUse, match="working folder"):
            run(notebook, place)
    with pytest.raises(FolderInUse, match="mount point"):
        run(notebook, "/proc")
    (tmp_path / "empty").mkdir()
    run(notebook, tmp_path / "empty", say=lambda line: None)
    assert records.read(tmp_path / "empty")["schema"] == 1


def test_a_stand_in_never_replaces_real_data(notebook, tmp_path, monkeypatch, capsys):
    out = tmp_path / "runs" / "a"
    real = run(notebook, out, say=lambda line: None)
    monkeypatch.setenv("RLAP_DATA", str(tmp_path))
    monkeypatch.setenv("RLAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RLAP_OFFLINE", "1")
    assert main(["run", str(notebook), "--out", str(out), "--force"]) == 1
    told = capsys.readouterr().err
    assert "a record of real data" in told and "RLAP_DATA names" in told
    assert executions(out) == 1
    # nor where the data go missing while it runs
    monkeypatch.setattr("rlap.runs.run.check_real_data", lambda out, parameters: None)
    book = nbformat.read(notebook, as_version=4)
    body = book.cells[-1].source.replace('["stand_in"] = False', '["stand_in"] = True')
    book.cells[-1].source = body
    nbformat.write(book, notebook)
    with pytest.raises(DataUnavailable, match="a record of real data"):
        run(notebook, out, say=lambda line: None)
    assert records.read(out) == records.read(out) | {"identity": real["identity"]}
    assert leftovers(out) == []
    # a new folder takes it, and the real ones replace it
    other = tmp_path / "runs" / "b"
    assert run(notebook, other, say=lambda line: None)["data"]["stand_in"]


@pytest.mark.parametrize(
    "line",
    ["seed = open('harm', 'w').write('x')", "rate = 1 / 2", "a = b = 1", "if 1:"],
)
def test_the_parameter_cell_is_read_and_not_run(notebook, tmp_path, line, monkeypatch):
    monkeypatch.chdir(tmp_path)
    book = nbformat.read(notebook, as_version=4)
    book.cells[0].source += f"\n{line}\n"
    nbformat.write(book, notebook)
    with pytest.raises(ParameterError, match="a name and a value as it stands"):
        run(notebook, tmp_path / "a")
    assert not (tmp_path / "harm").exists()


def test_wrong_parameters_stop_before_anything_is_made(notebook, tmp_path):
    out = tmp_path / "runs" / "a"
    for given, message in (
        ({"sed": 1}, "did you mean 'seed'"),
        ({"rate": 2.0}, "between 0 and 1"),
        ({"seed": "x"}, "must be int"),
        ({"out": "x"}, "--out"),
    ):
        with pytest.raises(ParameterError, match=message):
            run(notebook, out, given)
    assert not out.exists()
    with pytest.raises(FileNotFoundError, match="no notebook"):
        run(tmp_path / "absent.ipynb", out)
    other = tmp_path / "other.ipynb"
    shutil.copy(notebook, other)
    with pytest.raises(ParameterError, match="leaves no record"):
        run(other, out)


def test_the_data_expected_are_those_of_the_parameters(tmp_path, monkeypatch):
    """Of notebook 02 they depend on where speech comes from."""
    path = tmp_path / "02_speech.ipynb"
    path.write_text('{"cells": []}')
    asked = []

    def digest(name, **options):
        asked.append((name, options))
        return "d" * 64

    monkeypatch.setattr("rlap.runs.state.data_digest", digest)
    parameters = SpeechParameters(tier="small", source="synthetic")
    assert expected_identity(path, parameters)["data"] == "d" * 16
    expected_identity(path, Cifar10Parameters())
    assert [name for name, _ in asked] == ["speech_commands", "cifar10"]
    assert asked[0][1] == {"source": "synthetic", "frames": 32, "split": "speaker"}
    assert asked[1][1] == {}


def test_the_command_line(notebook, tmp_path, capsys):
    out = tmp_path / "runs" / "a"
    words = ["run", str(notebook), "--out", str(out), "-p", "seed=4", "-p", "rate=0.4"]
    assert main(words) == 0
    assert json.loads((out / "record.json").read_text())["parameters"]["rate"] == 0.4
    assert "initial 0.4000" in capsys.readouterr().out
    assert main([*words, "-p", "sead=1"]) == 2
    assert "did you mean 'seed'" in capsys.readouterr().err
    assert main([*words, "-p", "rate=0.3"]) == 1
    assert "say --replace" in capsys.readouterr().err
    assert main([*words, "-p", "seed"]) == 2
    assert "name=value" in capsys.readouterr().err
    assert main([*words[:4], "-p", "seed=13", "--replace"]) == 1
    assert "unlucky" in capsys.readouterr().err


def test_doctor_tells_versions_data_and_remedies(capsys, monkeypatch, tmp_path):
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    for word in ("rlap 0.1.0", "torch", "threads", "cifar10", "digits", "bfloat16"):
        assert word in told
    monkeypatch.setenv("RLAP_CACHE", str(tmp_path))
    monkeypatch.delenv("RLAP_DATA", raising=False)
    main(["doctor"])
    told = capsys.readouterr().out
    assert "cifar10: not here yet" in told and "RLAP_DATA is not set" in told
    import rlap.runs.doctor as doctor

    assert set(doctor.NAMES) - set(doctor.REMEDIES) == {"digits"}  # always here
    monkeypatch.setitem(doctor.EXTRAS, "no-such-package", "the moon: pip install moon")
    assert main(["doctor"]) == 0  # who does not want the moon lacks nothing
    assert "not here; needed for the moon" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "CORE", (*doctor.CORE, "no-such-core"))
    assert main(["doctor"]) == 1
    assert "no-such-core   MISSING: pip install rlap" in capsys.readouterr().out
