"""The files that describe the package agree with one another and with it."""

from __future__ import annotations

import ast
import contextlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
EXTRAS = PROJECT["optional-dependencies"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
CORE = {
    "torch",
    "scikit-learn",
    "numpy",
    "tqdm",
    "threadpoolctl",
    "safetensors",
    "platformdirs",
    "filelock",
    "pyyaml",
}


def requirements(*groups: str) -> list[Requirement]:
    """The core requirements and those of some extras."""
    lines = list(PROJECT["dependencies"])
    for group in groups:
        lines += EXTRAS[group]
    return [Requirement(line) for line in lines]


def pins() -> dict[str, Version]:
    """constraints.txt as {canonical name: version}."""
    found = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            assert canonicalize_name(name) not in found, f"{name} is pinned twice"
            found[canonicalize_name(name)] = Version(version)
    return found


def test_core_is_small_and_has_lower_bounds_only():
    core = requirements()
    assert {canonicalize_name(r.name) for r in core} == CORE
    for requirement in core:
        operators = {s.operator for s in requirement.specifier}
        assert operators == {">="}, f"{requirement}: a reader's newer one must do"


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_every_requirement_is_pinned_to_a_version_that_it_allows(extra):
    pinned = pins()
    for requirement in requirements(extra):
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} (extra {extra}) has no line in constraints.txt"
        assert requirement.specifier.contains(pinned[name], prereleases=True), name


def test_constraints_hold_nothing_local():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert not re.search(r"^-|@|://|\+", text, re.MULTILINE)


def conda_entries() -> tuple[dict[str, str], list[str]]:
    """Packages that conda installs ({name: version}), and the lines for pip."""
    conda, pip = {}, []
    for entry in ENVIRONMENT["dependencies"]:
        if isinstance(entry, dict):
            pip += entry["pip"]
        else:
            name, version = re.fullmatch(
                r"([\w.-]+?)\s*(?:[=><]+\s*(.+))?", entry
            ).groups()
            conda[name] = version
    return conda, pip


def test_conda_environment_agrees_with_pyproject():
    conda, pip = conda_entries()
    allowed = Requirement(f"python{PROJECT['requires-python']}").specifier
    assert allowed.contains(conda["python"])
    # What pip needs must come from pyproject.toml, at the versions that were tested.
    assert "-c constraints.txt" in pip
    editable = [line for line in pip if line.startswith("-e")]
    assert len(editable) == 1
    extras = re.fullmatch(r"-e \.\[([\w,]+)\]", editable[0]).group(1).split(",")
    assert set(extras) == {"book", "test"} <= set(EXTRAS)
    wanted = {canonicalize_name(r.name): r for r in requirements(*extras)}
    for line in set(pip) - {"-c constraints.txt", *editable}:
        own = Requirement(line)
        assert canonicalize_name(own.name) in wanted, f"{own} is not in pyproject.toml"
        for pin in own.specifier:
            assert wanted[canonicalize_name(own.name)].specifier.contains(pin.version)
    for name, version in conda.items():
        if version and canonicalize_name(name) in wanted:
            assert wanted[canonicalize_name(name)].specifier.contains(version)


def test_the_makefile_installs_what_the_conda_file_installs():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert '-c constraints.txt -e ".[book,test]"' in makefile


def test_version_is_told_once():
    import rlap

    assert PROJECT["name"] == "rlap"
    assert rlap.__version__ == PROJECT["version"] == CITATION["version"]


def test_console_command_leads_to_a_function():
    module, function = PROJECT["scripts"]["rlap"].split(":")
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text("utf-8"))
    assert function in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}


def test_citation_names_the_companion_and_the_paper():
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] == "software"
    assert CITATION["message"] and CITATION["authors"]
    (paper,) = CITATION["references"]
    assert paper["type"] == "article"
    assert "Attribution-Guided Partitioning and Neuron Pruning" in paper["title"]
    names = [author["family-names"] for author in paper["authors"]]
    assert names == ["Jin", "Chen", "Feng", "Ling", "Zhu"]
    assert (paper["year"], paper["volume"], paper["issue"]) == (2025, 7, 3)
    assert paper["doi"] == "10.3390/make7030095"


def test_citation_follows_the_format():
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "check_jsonschema",
            "--builtin-schema",
            "vendor.citation-file-format",
            str(ROOT / "CITATION.cff"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_licence_is_mit():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("MIT License")
    assert 'THE SOFTWARE IS PROVIDED "AS IS"' in text
    assert PROJECT["license"] == CITATION["license"] == "MIT"


def test_workflow_is_valid():
    workflow = ROOT / ".github" / "workflows" / "ci.yml"
    schema = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    style = "{extends: default, rules: {line-length: {max: 100}}}"
    for command in (
        [*schema, "vendor.github-workflows", str(workflow)],
        [sys.executable, "-m", "yamllint", "--strict", "-d", style, str(workflow)],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_workflow_uses_the_makefile_and_known_parameters():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    assert {"test", "book", "papermill"} <= set(jobs)
    targets = set(re.findall(r"\bmake (\w+)", text))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    notebook = ROOT / "notebooks" / "01_cifar10.py"
    cell = re.search(
        r'tags=\["parameters"\]\n(.*?)(?=\n# %%)', notebook.read_text("utf-8"), re.S
    )
    known = {
        node.target.id if isinstance(node, ast.AnnAssign) else node.targets[0].id
        for node in ast.parse(cell.group(1)).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
    }
    assert set(re.findall(r"-p (\w+)", text)) <= known
    from rlap.corruption.corrupted import KINDS

    assert set(jobs["papermill"]["strategy"]["matrix"]["kind"]) <= set(KINDS)


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after one statement."""
    program = (
        f"{statement}\nimport json, sys\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_loads_only_the_numerical_stack():
    """Not scikit-learn either, which takes about as long to import as torch."""
    stack = loaded_by("import torch, torch.nn.functional, numpy, threadpoolctl")
    beyond = loaded_by("import rlap") - stack - set(sys.stdlib_module_names)
    beyond = {name for name in beyond if not name.startswith("_")}
    assert beyond == {"rlap"}, f"import rlap also loads {sorted(beyond)}"


def imports(path: Path) -> Iterator[str]:
    """Top-level names that a module imports as soon as it is imported itself."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]


def test_no_module_of_the_method_needs_an_extra_when_imported():
    allowed = {"rlap", "torch", "numpy", "sklearn", "threadpoolctl"}
    allowed |= set(sys.stdlib_module_names)
    # which `import rlap` leaves alone
    on_top = {"cli", "experiments", "figures", "ledger", "pages", "runs"}
    for path in sorted((ROOT / "rlap").rglob("*.py")):
        if path.relative_to(ROOT / "rlap").parts[0] in on_top:
            continue
        extra = set(imports(path)) - allowed
        assert not extra, f"{path.name} imports {sorted(extra)} at import time"


def test_the_tested_versions_want_no_late_patch_of_python():
    """Debian 12 has 3.11.2: a version for 3.11.5 and later leaves pip without any."""
    pinned = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.M)
    found = {}
    for name in pinned:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.metadata(name)["Requires-Python"] or ""
    late = {n: v for n, v in found.items() if "3.11.0" not in SpecifierSet(v)}
    assert len(found) > len(pinned) / 2 and not late
