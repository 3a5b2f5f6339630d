"""Records: written whole, refused when damaged, identified by what decides them."""

from __future__ import annotations

import json
import math
import subprocess

import pytest
import torch

import rlap
from rlap.experiments import records
from rlap.experiments.parameters import Cifar10Parameters
from rlap.experiments.records import RecordError


def make(seed: int = 0, **changes) -> dict[str, object]:
    parameters = Cifar10Parameters(seed=seed)
    record = records.new_record(
        parameters,
        notebook="01_cifar10",
        data=rlap.load("digits"),
        protocol="controlled",
        measured={"arms": {"initial": {"accuracy": 0.5}}, "seconds": {"all": 1.0}},
    )
    return {**record, **changes}


def test_round_trip_with_six_digits(tmp_path):
    record = make(value=1 / 3, tiny=1.23456789e-12, counts=[1, 2], nothing=None)
    path = records.write(record, tmp_path / "deep" / "folder")
    back = records.read(path.parent)
    assert back["value"] == 0.333333
    assert back["tiny"] == 1.23457e-12
    assert back["counts"] == [1, 2]
    assert [p.name for p in path.parent.iterdir()] == ["record.json"]


def test_an_entry_of_a_section_is_a_line_and_any_record_comes_back(tmp_path):
    record = {"arms": {"a": {"n": [1, {"é": None}]}, "b": {}}, "notes": [], "bad": {}}
    path = records.write(record, tmp_path)
    text = path.read_text(encoding="utf-8")
    assert text.splitlines()[1:4] == [
        ' "arms": {',
        '  "a": {"n": [1, {"\\u00e9": null}]},',
        '  "b": {}',
    ]
    whole = json.loads(text)
    assert list(whole.items())[:-1] == list(record.items())
    assert whole["digest"] == records.content_digest(record)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_refused(tmp_path, value):
    with pytest.raises(RecordError, match="NaN or infinite"):
        records.write(make(value=value), tmp_path)
    assert not list(tmp_path.iterdir())


def test_missing_damaged_and_foreign_files(tmp_path):
    with pytest.raises(RecordError, match="there is no record"):
        records.read(tmp_path)
    path = tmp_path / "record.json"
    path.write_text('{"schema": 1, "arms"')
    with pytest.raises(RecordError, match="not a record"):
        records.read(tmp_path)
    path.write_text('{"schema": 99}')
    with pytest.raises(RecordError, match="schema 1"):
        records.read(tmp_path)


def nested(depth: int) -> str:
    return '{"schema": 1, "arms": ' + "[" * depth + "]" * depth + "}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"schema": 1, "x": NaN}', "not JSON compliant"),
        ('{"schema": 1, "x": 1e999}', "not JSON compliant"),
        (nested(100_000), "recursion"),
        ("[1]", "schema 1"),
        ("null", "schema 1"),
        ("", "not a record"),
    ],
)
def test_what_is_no_record_is_told_by_its_file(tmp_path, text, told):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=f"{path}.*{told}"):
        records.read(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RecordError, match="not a record"):
        records.read(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(RecordError, match=str(path)):
        records.read(path)
    with pytest.raises(RecordError, match=str(path)):
        records.read(tmp_path)


ODD = [
    ("identity", [], "identity is"),
    ("identity", {"id": 1}, "identity: 'id'"),
    ("parameters", None, "parameters is None"),
    ("arms", None, "arms is None"),
    ("arms", {"initial": 0.5}, "arms: 'initial'"),
    ("seconds", {"all": "long"}, "seconds: 'all'"),
    ("provenance", "here", "provenance is 'here'"),
    ("protocol", 1, "protocol is 1"),
    ("data", {}, "stand in"),
    ("notebook", "99_none", "no notebook '99_none'"),
    ("parameters", {"tier": "huge"}, "tier"),
    ("parameters", {"kind": "snow"}, "kind"),
    ("parameters", {"rate": 7}, "rate"),
]


@pytest.mark.parametrize(("name", "value", "told"), ODD)
def test_a_record_of_another_version_is_told_by_its_file(tmp_path, name, value, told):
    """Its digest is right: nobody has changed it."""
    path = records.write(make(**{name: value}), tmp_path)
    with pytest.raises(RecordError, match=f"{path} is no record of this .*{told}"):
        records.read(path)
    record = make()
    del record[name]
    records.write(record, tmp_path)
    with pytest.raises(RecordError, match=f"{name} is None"):
        records.read(path)


def test_parameters_that_a_notebook_had_once_are_left_alone(tmp_path):
    record = make(parameters={"seed": 3, "flavour": 1})
    assert records.read(records.write(record, tmp_path))["parameters"]["flavour"] == 1


def test_a_protocol_that_nobody_knows_is_told(tmp_path):
    asked = {"protocol": "hoped-for", "dataset": "cifar10"}
    record = make(notebook="05_protocols", parameters=asked)
    with pytest.raises(RecordError, match="hoped-for"):
        records.read(records.write(record, tmp_path))


def test_a_run_recorded_twice_is_noticed(tmp_path):
    records.write(make(0), tmp_path / "a")
    records.write(make(1), tmp_path / "b")
    assert [r["seed"] for r in records.read_all(tmp_path)] == [0, 1]
    records.write(make(0), tmp_path / ".c.123.tmp")  # a run under way
    assert len(records.read_all(tmp_path)) == 2
    records.write(make(0), tmp_path / "c")
    with pytest.raises(RecordError, match="recorded twice"):
        records.read_all(tmp_path)


def identity(**changes) -> dict[str, str]:
    options = {"notebook": "01_cifar10", "notebook_code": "abc", "data": "d" * 64}
    parameters = Cifar10Parameters(seed=changes.pop("seed", 0))
    return records.identity(parameters, **{**options, **changes})


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"seed": 1}, "parameters"),
        ({"notebook": "02"}, "parameters"),
        ({"notebook_code": "abd"}, "notebook"),
        ({"data": "e" * 64}, "data"),
    ],
)
def test_identity_changes_with_what_decides_the_result(change, part):
    before, after = identity(), identity(**change)
    assert identity() == before
    differing = {k for k in before if before[k] != after[k]}
    assert differing == {"id", part}


def test_provenance_names_what_made_the_numbers():
    found = records.provenance()
    assert torch.__version__.startswith(found["environment"]["torch"])
    assert found["threads"] >= 1
    assert set(found) >= {"commit", "dirty", "device", "written", "rlap"}


def test_a_tree_is_dirty_by_its_code_and_not_by_its_results(tmp_path):
    def git(*words: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True)

    (tmp_path / "results").mkdir()
    code, result = tmp_path / "code.py", tmp_path / "results" / "record.json"
    code.write_text("1")
    result.write_text("1")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "both")
    commit, dirty = records.git_state(tmp_path)
    assert len(commit) == 10 and dirty is False
    result.write_text("2")
    assert records.git_state(tmp_path) == (commit, False)
    code.write_text("2")
    assert records.git_state(tmp_path) == (commit, True)
