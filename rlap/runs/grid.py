"""Grids: files that name many runs; read, checked and expanded before anything starts.

A grid file names a notebook (of notebooks/, or a path ending in .ipynb from where the
file is), parameters that are ``fixed``, ``seeds``, and ``blocks``, the most telling
first. A block may add to what is ``fixed``, ``vary`` some parameters (every combination
of the listed values), list ``cases`` (each with every combination), have its own
``seeds``, and be only for some ``tiers``. book/sweeps.md shows one.

``train_share`` stands for ``train_size`` as a share of the tier's own. Within a block
the seeds go round slowest: a sweep that is stopped has seen every setting first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import yaml

from rlap.experiments.parameters import ParameterError, Parameters
from rlap.files import paths
from rlap.files.digests import sha
from rlap.runs.run import check_parameters
from rlap.runs.state import resolved

KEYS = {"about", "notebook", "fixed", "seeds", "blocks"}
BLOCK_KEYS = {"about", "fixed", "vary", "cases", "seeds", "tiers"}
SHARE = "train_share"
# how a folder's name shows a parameter: by its value alone, or by a letter before it
PLAIN = ("protocol", "tier", "forget", "dataset", "kind", "model", "arms", "methods")
LETTERS = {
    "rate": "r",
    "level": "l",
    "train_size": "n",
    "test_size": "t",
    "width": "w",
    "epochs": "e",
    "finetune_epochs": "f",
    "units": "u",
    "seed": "s",
}
LONG = 60  # characters of one value
ALWAYS = ("protocol", "tier", "forget", "kind", "rate", "level", "seed")


@dataclass(frozen=True)
class Job:
    """One run: what ``rlap run`` needs, and the grids that ask for it."""

    notebook: Path
    given: Mapping[str, object]
    parameters: Parameters
    folder: Path
    grids: tuple[str, ...]

    @property
    def name(self) -> str:
        """Notebook and setting, as the folder is called under results/."""
        return f"{self.folder.parent.name}/{self.folder.name}"


def jobs_of(
    files: Sequence[str | Path],
    *,
    override: Mapping[str, object] | None = None,
    seeds: Sequence[int] | None = None,
    results: Path | None = None,
) -> list[Job]:
    """The runs that the grid files name, in their order, each run once.

    ``override`` replaces parameters of every grid, ``seeds`` the seeds of every block;
    the runs' folders lie under ``results`` (by default the package's).
    Raises ``ParameterError`` that names the file, or ``FileNotFoundError``.
    """
    jobs: dict[Path, Job] = {}
    for file in map(Path, files):
        try:
            for job in expand(file, override or {}, seeds, results):
                known = jobs.get(job.folder)
                if known is None:
                    jobs[job.folder] = job
                elif resolved(known.parameters) != resolved(job.parameters):
                    raise ParameterError(f"two settings would share {job.folder}")
                elif file.stem not in known.grids:
                    grids = (*known.grids, file.stem)
                    jobs[job.folder] = replace(known, grids=grids)
        except ParameterError as error:
            raise ParameterError(f"{file}: {error}") from error
    return list(jobs.values())


def expand(
    file: Path,
    override: Mapping[str, object],
    seeds: Sequence[int] | None,
    results: Path | None,
) -> Iterator[Job]:
    """The runs of one grid file."""
    grid = read(file)
    notebook = notebook_of(grid["notebook"], file)
    results = results or paths.results_folder()
    for i, block in enumerate(grid["blocks"], 1):
        try:
            for given in settings(grid, block, override, seeds):
                job_given, parameters = canonical(notebook, given)
                folder = results / notebook.stem / folder_name(parameters)
                yield Job(notebook, job_given, parameters, folder, (file.stem,))
        except ParameterError as error:
            raise ParameterError(f"block {i}: {error}") from error


def read(file: Path) -> dict:
    """A grid file with its shape checked; what the parameters mean is not."""
    try:
        grid = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ParameterError(f"not YAML: {error}") from error
    check_keys(grid, KEYS, "the grid")
    if not isinstance(grid.get("notebook"), str):
        raise ParameterError("name the notebook of the grid")
    blocks = grid.get("blocks")
    if not isinstance(blocks, list) or not blocks:
        raise ParameterError("the grid needs a list of blocks")
    check_mapping(grid.get("fixed", {}), "fixed")
    for i, block in enumerate(blocks, 1):
        where = f"block {i}"
        check_keys(block, BLOCK_KEYS, where)
        check_mapping(block.get("fixed", {}), f"fixed of {where}")
        for name, values in check_mapping(block.get("vary", {}), where).items():
            if not isinstance(values, list) or not values:
                raise ParameterError(f"{where}: vary {name!r} needs a list of values")
        for case in check_list(block.get("cases", [{}]), f"cases of {where}"):
            check_mapping(case, f"a case of {where}")
        check_list(block.get("tiers", ["any"]), f"tiers of {where}")
        for seed in check_list(block.get("seeds", grid.get("seeds")), "seeds"):
            if type(seed) is not int:
                raise ParameterError(f"{where}: seed {seed!r} is no whole number")
    return grid


def check_keys(found: object, known: set[str], what: str) -> None:
    """Raise ``ParameterError`` unless ``found`` is a mapping with known keys."""
    if unknown := sorted(map(str, set(check_mapping(found, what)) - known)):
        raise ParameterError(
            f"{what} has unknown entries {unknown}; known: {sorted(known)}"
        )


def check_mapping(found: object, what: str) -> dict:
    """``found`` if it is a mapping."""
    if not isinstance(found, dict):
        raise ParameterError(f"{what} must be a mapping, not {found!r}")
    return found


def check_list(found: object, what: str) -> list:
    """``found`` if it is a list with something in it."""
    if not isinstance(found, list) or not found:
        raise ParameterError(f"{what} must be a list with something in it")
    return found


def notebook_of(name: str, file: Path) -> Path:
    """Where the notebook of a grid file is."""
    home = (paths.checkout() or Path.cwd()) / "notebooks"
    here = name.endswith(".ipynb")
    notebook = file.parent / name if here else home / f"{name}.ipynb"
    if not notebook.is_file():
        raise ParameterError(f"there is no notebook {notebook}")
    return notebook


def settings(
    grid: Mapping,
    block: Mapping,
    override: Mapping[str, object],
    seeds: Sequence[int] | None,
) -> Iterator[dict[str, object]]:
    """Parameters of every run of a block, as they are written."""
    vary = block.get("vary", {})
    for seed in seeds or block.get("seeds", grid.get("seeds")):
        for case in block.get("cases", [{}]):
            for values in product(*vary.values()):
                varied = dict(zip(vary, values, strict=True))
                fixed = {**grid.get("fixed", {}), **block.get("fixed", {})}
                given = {**fixed, **case, **varied, "seed": seed, **override}
                if given.get("tier") in block.get("tiers", [given.get("tier")]):
                    yield given


def canonical(
    notebook: Path, given: Mapping[str, object]
) -> tuple[dict[str, object], Parameters]:
    """``given`` checked and without what the tier would choose anyway, and the whole.

    So a setting has one form, whatever the file that it comes from.
    """
    given = dict(given)
    share = given.pop(SHARE, None)
    parameters = check_parameters(notebook, given)
    if share is not None:
        whole = resolved(parameters).train_size
        if "train_size" in given or whole is None or type(share) not in (int, float):
            raise ParameterError(
                f"{SHARE} is a number, without train_size, of what the tier takes"
            )
        given["train_size"] = round(share * whole)
    parameters = check_parameters(notebook, given)
    # a None that the tier fills with the very value that was given
    idle = {
        name
        for name in given
        if getattr(parameters, name) is not None
        and getattr(type(parameters), name) is None
        and resolved(replace(parameters, **{name: None})) == resolved(parameters)
    }
    given = {k: v for k, v in given.items() if k not in idle}
    return given, check_parameters(notebook, given)


def folder_name(parameters: Parameters) -> str:
    """A readable name that no other setting of the notebook has.

    The protocol, tier, noise and seed, and between them whatever is not the tier's own
    choice: "controlled-small-gaussian_clamped-r0.5-l8-n6250-s0".
    """
    values = parameters.identity()
    asked = {k: values[k] for k in ("tier", "dataset", "model") if k in values}
    usual = type(parameters).from_mapping(asked).identity()
    extra = [k for k in values if k not in ALWAYS and values[k] != usual[k]]
    default = type(parameters)().identity()
    extra += [k for k in ("dataset", "model") if values.get(k) != default.get(k)]
    meant = resolved(parameters).identity()
    if (
        getattr(parameters, "noise_level", 0) is None
        and values["level"] == usual["level"]
    ):
        meant["level"] = None  # wrong labels have no level
    known = [k for k in ALWAYS if meant.get(k) is not None]
    order = known[:-1] + sorted(extra, key=list(values).index) + known[-1:]
    return "-".join(label(k, meant[k]) for k in order)


def label(name: str, value: object) -> str:
    """How a folder's name shows one parameter."""
    text = f"{value:.10g}" if isinstance(value, float) else str(value)
    text = re.sub(r"[^\w.+=]+", "_", text)
    if len(text) > LONG:  # an ablation of many fields; some systems limit whole paths
        base, *changes = text.split("+")
        text = f"{base}+{len(changes)}_changes_{sha(text)[:8]}"
    if name in PLAIN:
        return text
    return f"{LETTERS[name]}{text}" if name in LETTERS else f"{name}={text}"
