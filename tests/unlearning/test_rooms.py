"""Arrows between the folders of the unlearning room run one way."""

import ast
from pathlib import Path

import pytest

import rlap.unlearning

ROOT = Path(rlap.unlearning.__file__).parent
# each imports from those before it alone; what lies in the room itself comes last
FOLDERS = ("lrp", "common", "methods", "examiner", "")


def folder(module: str) -> str:
    inside = module.removeprefix("rlap.unlearning").strip(".").split(".")
    return inside[0] if inside[0] in FOLDERS else ""


@pytest.mark.parametrize(
    "path", sorted(ROOT.rglob("*.py")), ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_no_arrow_runs_back(path):
    own = path.parent.relative_to(ROOT).as_posix().replace(".", "")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        name = node.module if isinstance(node, ast.ImportFrom) else ""
        if name and name.startswith("rlap.unlearning"):
            other = folder(name)
            assert FOLDERS.index(other) <= FOLDERS.index(own), name
            behind = name.startswith("rlap.unlearning.lrp.") and own != "lrp"
            assert not behind, f"relevance has one door, not {name}"
