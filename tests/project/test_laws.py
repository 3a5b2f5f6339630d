"""The laws of the house: who may import whom, how large a room may be."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "rlap"
# from the ground up: a room imports from those before it, and from none after it
ROOMS = (
    "wording",
    "stored",
    "files",
    "checks",
    "data",
    "network",
    "corruption",
    "models",
    "training",
    "method",
    "figures",
    "unlearning",
    "experiments",
    "runs",
    "ledger",
    "pages",
    "cli",
)
METHOD = ("attribution", "partition", "mixture", "sensitivity", "pruning")
METHOD += ("finetuning", "metrics", "preflight", "algorithm", "repair", "rlap")
# what a room that stands above another still has no business with
NEVER = {
    "ledger": {"runs"},
    "experiments": {"figures"},
    "runs": {"figures"},
}
MOST_FILES = 12


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def room(module: str) -> str:
    """The room of a module: its first folder, or for the method's files "method"."""
    parts = module.split(".")
    name = parts[1] if len(parts) > 1 else parts[0]
    return "method" if name in METHOD else name


def imported(path: Path) -> set[str]:
    """The package's modules that a file imports, at its top or in a function."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in MODULES else node.module)
    return {name for name in found if name in MODULES}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_arrow_runs_back(module):
    own = room(module)
    for other in imported(MODULES[module]) - {"rlap"}:
        assert ROOMS.index(room(other)) <= ROOMS.index(own), (module, other)
        assert room(other) not in NEVER.get(own, ()), (module, other)


def test_every_room_is_known():
    assert {room(module) for module in MODULES} <= set(ROOMS)


def test_no_folder_holds_more_than_a_dozen_files():
    crowded = {
        folder.relative_to(ROOT).as_posix(): len(list(folder.glob("*.py")))
        for folder in {path.parent for path in MODULES.values()}
    }
    assert {k: n for k, n in crowded.items() if n > MOST_FILES} == {}


def test_the_imports_are_read():
    found = imported(MODULES["rlap.algorithm"])
    assert {"rlap.attribution", "rlap.partition", "rlap.pruning"} <= found
