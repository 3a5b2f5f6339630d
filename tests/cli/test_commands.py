"""The command line: quick to answer, and one sentence for each slip."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import rlap
from rlap_command import main

ROOT = Path(__file__).parents[2]
NOTEBOOK = str(ROOT / "notebooks" / "05_protocols.ipynb")


def python(program: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.parametrize("words", [["--help"], ["sweep", "--help"], []])
def test_help_answers_without_torch(words):
    done = python(
        "import sys; from rlap_command import main\n"
        f"try: main({words})\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    assert (done.returncode, done.stderr) == (0, "False\n")
    assert done.stdout.startswith("usage: rlap")


@pytest.mark.parametrize("module", ["rlap", "rlap.cli.ledger"])
def test_what_is_slow_is_not_imported(module):
    slow = ("sklearn", "scipy", "pandas", "matplotlib", "torchaudio", "torchvision")
    done = python(
        f"import sys, {module}; print([m for m in {slow} if m in sys.modules])"
    )
    assert done.stdout == "[]\n", done.stderr


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rlap {rlap.__version__}\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "x.py", "--out", "a"], "x.py is not a notebook (.ipynb)"),
        (["run", NOTEBOOK[:-5] + "py", "--out", "a"], f"did you mean {NOTEBOOK}?"),
        (["run", "x.ipynb", "--out", "a"], "there is no notebook x.ipynb"),
        (["run", NOTEBOOK, "--out", "a", "-p", "rate=[1"], "-p rate=[1: '[1' cannot"),
        (["run", NOTEBOOK, "--out", "a", "-p", "rate=a: b: c"], "cannot be read"),
        (["run", NOTEBOOK, "--out", "a", "-p", "rate"], "write it as name=value"),
        (["run", NOTEBOOK, "--out", "a", "-p", "=1"], "write it as name=value"),
        (["run", NOTEBOOK, "--out", "a", "-p", "seed=2020-01-01"], "must be int"),
        (["sweep", "g.yaml", "--json"], "say --dry-run as well"),
        (["sweep", "g.yaml"], "g.yaml"),
    ],
)
def test_a_slip_is_one_sentence_and_status_2(
    words, told, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("rlap: ") and said.count("\n") == 1
    assert told in said
    assert list(tmp_path.iterdir()) == []
