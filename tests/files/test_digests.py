"""What counts as the same: bytes, tensors, code by what it computes, notebooks."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rlap.files import digests
from rlap.runs import state

ROOT = Path(__file__).parents[2]


def test_short_digests_end_each_part():
    assert len(digests.sha("a")) == 16
    assert digests.sha("ab", "c") != digests.sha("a", "bc")
    assert digests.sha("a") == digests.sha(b"a")
    assert digests.of_json({"a": 1, "b": 2}) == digests.of_json({"b": 2, "a": 1})


def test_files_count_by_name_and_content(tmp_path):
    (tmp_path / "a").write_bytes(b"1\r\n")
    (tmp_path / "b").write_bytes(b"2")
    found = digests.of_files(tmp_path.iterdir(), tmp_path)
    (tmp_path / "a").write_bytes(b"1\n")  # line ends are no news
    assert digests.of_files(tmp_path.iterdir(), tmp_path) == found
    (tmp_path / "a").rename(tmp_path / "c")
    assert digests.of_files(tmp_path.iterdir(), tmp_path) != found
    assert digests.of_file(tmp_path / "b") == digests.sha256(b"2")


@pytest.mark.parametrize(
    "other",
    [
        {"a": torch.zeros(2, 3), "b": torch.ones(())},
        {"b": torch.ones(()), "a": torch.zeros(3, 2)},
        {"a": torch.zeros(3, 2, dtype=torch.float64), "b": torch.ones(())},
        {"a": torch.zeros(3, 2), "b": torch.zeros(())},
        {"a": torch.zeros(3, 2), "c": torch.ones(())},
    ],
)
def test_tensors_count_by_name_shape_type_and_value(other):
    tensors = {"a": torch.zeros(3, 2), "b": torch.ones(())}
    strided = {"a": torch.zeros(2, 3).t(), "b": torch.ones(())}
    assert digests.of_tensors(tensors) == digests.of_tensors(strided)
    assert digests.of_tensors(tensors) != digests.of_tensors(other)
    assert len(digests.of_tensors({"a": torch.ones(2, dtype=torch.bfloat16)})) == 64


# --- code -------------------------------------------------------------------------

CODE = '''"""A module."""

import math


def area(r):
    """Of a circle."""
    # by the book
    return math.pi * r**2
'''


@pytest.fixture
def package(tmp_path):
    for name in ("core.py", "training/loop.py", "pages/page.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(CODE)
    return tmp_path


def code_of(package: Path) -> str:
    digests.code_digest.cache_clear()
    return digests.code_digest(package)


@pytest.mark.parametrize("folder", digests.SHOWS)
def test_what_only_shows_is_not_in_the_digest_of_the_code(package, folder):
    before = code_of(package)
    (package / folder).mkdir(exist_ok=True)
    (package / folder / "page.py").write_text("x = 1")
    assert code_of(package) == before


def test_the_digest_of_the_code_follows_what_it_computes(package):
    before, path = code_of(package), package / "training" / "loop.py"
    path.write_text(CODE.replace("by the book", "as ever").replace("\n", "\r\n"))
    assert code_of(package) == before
    path.write_text(CODE.replace("Of a circle", "In metres"))
    assert code_of(package) == before
    for old, new in (("r**2", "r**3"), ("import math", "import cmath as math")):
        path.write_text(CODE.replace(old, new))
        assert code_of(package) != before
    path.write_text(CODE)
    (package / "new.py").write_text("")
    assert code_of(package) != before


def test_the_parts_that_only_show_are_there():
    rooms = {p.name for p in (ROOT / "rlap").iterdir()}
    assert set(digests.SHOWS) <= rooms
    known = {p.relative_to(ROOT / "rlap").as_posix() for p in digests.computing()}
    assert {"partition.py", "training/loop.py", "experiments/records.py"} <= known


# --- notebooks --------------------------------------------------------------------


def notebook(path: Path, *cells: str, prose: str = "", outputs: tuple = ()) -> Path:
    made = [{"cell_type": "code", "source": [c], "outputs": outputs} for c in cells]
    made.append({"cell_type": "markdown", "source": [prose]})
    path.write_text(json.dumps({"cells": made}))
    return path


def digest(tmp_path: Path, *cells: str, **others) -> str:
    return digests.notebook_digest(notebook(tmp_path / "nb.ipynb", *cells, **others))


@pytest.mark.parametrize(
    "cells",
    [
        ("from b import f\n\na = f(1)  # one", "if a:\n    print( a )"),
        ("a = f(1)", "", "# nothing\nif a:\n    print(a)"),
        ("a = f(1)\nif a:\n    '''Shown.'''\n    import this\n    print(a)",),
    ],
)
def test_imports_comments_and_layout_of_a_notebook_do_not_count(tmp_path, cells):
    first = "from a import f\na = f(1)", "if a: print(a)"
    same = digest(tmp_path, *first)
    assert digest(tmp_path, *cells, prose="words", outputs=("seen",)) == same
    assert digest(tmp_path, *first, "print(2)") != same
    assert digest(tmp_path, "a = f(2)", first[1]) != same
    assert digests.notebook_digest(tmp_path / "absent.ipynb") == "none"
    assert digests.notebook_digest(None) == "none"


@pytest.mark.parametrize("tag", ["setup", "telling"])
def test_a_cell_that_installs_or_tells_does_not_count(tmp_path, tag):
    text = {"cell_type": "code", "source": "x = 1", "metadata": {}}
    apart = {**text, "source": "does(1)", "metadata": {"tags": [tag, "other"]}}
    for name, cells in {"a": [text], "b": [apart, text], "c": [text, text]}.items():
        (tmp_path / name).write_text(json.dumps({"cells": cells}))
    a, b, c = (digests.notebook_digest(tmp_path / name) for name in "abc")
    assert a == b != c


def test_what_is_not_python_in_a_notebook_counts_by_its_text(tmp_path):
    first = digest(tmp_path, "%pip install rlap\nx = 1  # one")
    assert digest(tmp_path, "%pip install rlap\nx = 1") == first
    assert digest(tmp_path, "%pip install rlap\nx = 2") != first
    assert digest(tmp_path, "%pip install other\nx = 1") != first
    assert digest(tmp_path, "%%bash\nls -l") != digest(tmp_path, "%%bash\nls -a")
    # a line of a text that looks like one is left alone
    assert digest(tmp_path, 'x = """\n%a\n"""') != digest(tmp_path, 'x = """\n%b\n"""')


def test_the_outline_of_a_tree_is_pinned():
    """Versions of Python build trees that differ where nothing is computed."""
    code = 'def f(a, *, b=None):\n    return f"{a!r:>{b}}" "x" f"y{a}", -1, u"z", {**a}'
    assert digests.outline(ast.parse(code).body) == (
        "(FunctionDef name=['f'] args=[(arguments args=[(arg arg=['a'])] "
        "kwonlyargs=[(arg arg=['b'])] kw_defaults=[(Constant)])] "
        "body=[(Return value=[(Tuple elts=[(JoinedStr values=["
        "(FormattedValue value=[(Name id=['a'])] conversion=[114] format_spec=["
        "(JoinedStr values=[(Constant value=['>']) "
        "(FormattedValue value=[(Name id=['b'])] conversion=[-1])])]) "
        "(Constant value=['xy']) "
        "(FormattedValue value=[(Name id=['a'])] conversion=[-1])]) "
        "(UnaryOp op=[(USub)] operand=[(Constant value=[1])]) "
        "(Constant value=['z']) (Dict keys=[None] values=[(Name id=['a'])])])])])"
    )


# --- notebooks that were rewritten ------------------------------------------------

ENTRIES = json.loads((ROOT / "results" / state.REWRITTEN).read_text())


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else ""


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e['digest']}")
def test_every_entry_of_rewritten_notebooks_is_vouched_for(entry, tmp_path):
    """By the history: the digest of the cells' text, as records had it at first. Or by
    a test that runs both and compares their numbers."""
    assert set(entry) - {"commit", "test"} == {"notebook", "digest", "means"}
    if "test" in entry:
        path, _, name = entry["test"].partition("::")
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")
        return
    text = git("show", f"{entry['commit']}:notebooks/{entry['notebook']}.ipynb")
    if not text:
        pytest.skip("the commit is not in this checkout")
    (tmp_path / "nb.ipynb").write_text(text, encoding="utf-8")
    code = [c for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
    assert digests.sha(*("".join(c["source"]) for c in code)) == entry["digest"]
    assert digests.notebook_digest(tmp_path / "nb.ipynb") == entry["means"]


def test_rewritten_notebooks_are_followed_to_the_last(tmp_path, monkeypatch):
    table = {("a", "1"): "2", ("a", "2"): "3", ("b", "1"): "9", ("c", "1"): "1"}
    monkeypatch.setattr(state, "rewritten", lambda path: table)
    found = [state.settled(*pair) for pair in (*table, ("a", "3"), ("d", "1"))]
    assert found == ["3", "3", "9", "1", "3", "1"]


@pytest.mark.slow
def test_moving_a_room_and_editing_a_page_make_nothing_stale(tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (
        "rlap", "rlap_command.py", "notebooks", "grids", "results", "pyproject.toml",
    ):  # fmt: skip
        here = ROOT / name
        (shutil.copytree if here.is_dir() else shutil.copy)(here, copy / name)
    package = copy / "rlap"
    before = digests.code_digest(package)

    (package / "experiments").rename(package / "laboratory")
    moved = 0
    for path in (*package.rglob("*.py"), *copy.glob("notebooks/*.ipynb")):
        text = path.read_text(encoding="utf-8")
        moved += path.suffix == ".ipynb" and "rlap.experiments" in text
        path.write_text(text.replace("rlap.experiments", "rlap.laboratory"))
    assert moved >= 5
    listed = subprocess.run(
        [sys.executable, "-m", "rlap.cli", "sweep", "grids/labels.yaml", "--dry-run"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["done"] * 16

    shutil.rmtree(package)
    shutil.copytree(ROOT / "rlap", package)
    for folder, same in (("pages", True), ("ledger", True), ("training", False)):
        with open(next((package / folder).glob("[a-z]*.py")), "a") as file:
            file.write("\n\nMORE = 1\n")
        digests.code_digest.cache_clear()
        assert (digests.code_digest(package) == before) == same, folder
