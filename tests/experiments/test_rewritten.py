"""A rewritten notebook computes what it did, as results/NOTEBOOKS.json says."""

from __future__ import annotations

import json
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import papermill
import pytest

from rlap.experiments import records
from rlap.files import digests

ROOT = Path(__file__).parents[2]
NOTEBOOK = "05_protocols"
BEFORE = "c37d6ef"  # a commit with the notebook that made the committed records
SIZES = {"train_size": 400, "test_size": 200, "epochs": 2, "finetune_epochs": 1}
# The updates of all parameters are one kernel since, which rounds otherwise on some
# processors: both sides make them one parameter at a time. And of equal logits the
# first is counted since, where topk took any: both sides get them in order.
PLAIN_UPDATES = """
from collections import namedtuple

import torch

Top = namedtuple("Top", ["values", "indices"])


def in_order(x, k, dim=-1):
    found = x.sort(dim=dim, descending=True, stable=True)
    return Top(*(each.narrow(dim, 0, k) for each in found))


torch.Tensor.topk = in_order
Adam = torch.optim.Adam
torch.optim.Adam = lambda *given, fused=None, **options: Adam(*given, **options)
"""
# what differs between two runs of the same code, too
FREE = {"identity", "provenance", "digest", "out", "parameters"}


def before(folder: Path) -> Path:
    """The checkout as it was, in ``folder``; skipped without the history."""
    archive = folder / "before.zip"
    done = subprocess.run(
        ["git", "archive", "-o", archive, BEFORE, "rlap", "notebooks"],
        cwd=ROOT,
        capture_output=True,
    )
    if done.returncode:
        pytest.skip(f"the history does not reach back to {BEFORE}")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder / "before")
    return folder / "before"


def numbers(value: object, path: tuple = ()) -> Iterator[tuple[tuple, float]]:
    """Every number of a record by its path, but for seconds."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in FREE and "seconds" not in key:
                yield from numbers(inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from numbers(inner, (*path, i))
    elif isinstance(value, int | float):
        yield path, value


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [
        {"protocol": "released", "arms": "all"},
        {"protocol": "controlled", "arms": "criteria", "seed": 1},
    ],
)
def test_the_old_way_and_the_new_give_the_same_numbers(folders, monkeypatch, given):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = {}
    for name, root in (("old", before(folders)), ("new", ROOT)):
        monkeypatch.setenv("PYTHONPATH", str(root))
        out, made = folders / name, folders / f"{name}.ipynb"
        book = nbformat.read(root / "notebooks" / f"{NOTEBOOK}.ipynb", as_version=4)
        book.cells.insert(0, nbformat.v4.new_code_cell(PLAIN_UPDATES))
        nbformat.write(book, made)
        papermill.execute_notebook(
            str(made),
            str(made),
            {**SIZES, **given, "out": str(out)},
            progress_bar=False,
        )
        found[name] = dict(numbers(records.read(out)))
    old, new = found["old"], found["new"]
    assert old.keys() == new.keys() and len(new) > 300
    # the mixture has another solver since: the sixth digit of its likelihood may move
    moved = {
        path: (old[path], value)
        for path, value in new.items()
        if value != pytest.approx(old[path], rel=1e-4, abs=1e-6)
    }
    assert not moved


def test_the_table_of_rewritten_notebooks_names_this_one():
    table = json.loads((ROOT / "results" / "NOTEBOOKS.json").read_text())
    mine = [entry for entry in table if "test_rewritten" in entry.get("test", "")]
    now = digests.notebook_digest(ROOT / "notebooks" / f"{NOTEBOOK}.ipynb")
    assert [entry["means"] for entry in mine] == [now]
