"""Sphinx extension: bring the notebooks in, and know when to run them again.

Sphinx reads only below book/, and its notebook cache looks only at a notebook's own
cells. So this copies notebooks/*.ipynb to book/notebooks/ before the table of
contents is read, and puts the execution cache in a folder named after everything
else that a notebook's output depends on: the code that computes and draws, the lock
file and the data. New records, or new code that shows them, make Sphinx read the pages
that show them, see ``results``. It also serves MathJax from the site itself.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

BOOK = Path(__file__).resolve().parents[1]
ROOT = BOOK.parent
OPEN = "00_own_model.ipynb"
MATHJAX = "mathjax/tex-svg.js"
# what pages of results show: records, the paper's numbers, the register and the grids
SHOWN = ("results/**/*.json", "rlap/**/*.csv", "rlap/**/*.yml", "grids/*.yaml")
OF_PAGES = ("shown", "results")  # the ingredients that no notebook looks at


def stage(source: Path, target: Path) -> list[str]:
    """Mirror the notebooks of `source`, folded, in `target`; return what changed.

    Files with equal content are left alone, so that Sphinx sees no news in them.
    """
    target.mkdir(parents=True, exist_ok=True)
    wanted = {p.name: folded(p) for p in sorted(source.glob("*.ipynb"))}
    changed = []
    for old in target.glob("*.ipynb"):
        if old.name not in wanted:
            old.unlink()
            changed.append(old.name)
    for name, content in wanted.items():
        copy = target / name
        if not copy.exists() or copy.read_bytes() != content:
            copy.write_bytes(content)
            changed.append(name)
    return changed


def folded(notebook: Path) -> bytes:
    """A notebook as the book shows it: what cells did, their code behind a click. In
    the one that shows how to do it oneself, the code is what it is about."""
    content = notebook.read_bytes()
    if notebook.name == OPEN or not content.startswith(b"{"):
        return content
    book = json.loads(content)
    for cell in book["cells"]:
        tags = cell["metadata"].setdefault("tags", [])
        hidden = any(tag.startswith(("hide-", "remove-")) for tag in tags)
        if cell["cell_type"] == "code" and not hidden:
            tags.append("hide-input")
    return (json.dumps(book, indent=1, ensure_ascii=False) + "\n").encode()


def data_digest(name: str) -> str:
    """Digest of the data that the notebooks will find, or why they will find none.

    Missing data is fetched here, as a notebook would do a moment later: otherwise the
    first build would be keyed as one without data, and the second would run it all
    again. Where it cannot be had the notebooks use a stand-in, under another key.
    """
    try:
        from rlap.data import available, load

        if available(name) is None:
            load(name, train_size=10, test_size=10, allow_stand_in=False)
        found = available(name)
    except Exception as error:  # the book must build on a machine without data
        return f"none ({type(error).__name__})"
    return found[1] if found else "none"


def data_lines() -> list[str]:
    """Which data this build found, in the words of ``rlap doctor``."""
    from rlap.runs.doctor import data_line

    return ["data:", *(data_line(name)[0] for name in ("cifar10", "speech_commands"))]


def ingredients(root: Path = ROOT) -> dict[str, str]:
    """What outputs depend on besides the notebooks and pages themselves.

    "code" is what computes, as records have it; "figures" are drawn in the notebooks;
    "shown" is what pages make of the records: the rest of the package, and "results"
    are the records themselves.
    """
    from rlap.files import digests

    package, lock = root / "rlap", root / "constraints.txt"
    figures = set(package.glob("figures/**/*.py"))
    shown = set(package.rglob("*.py")) - figures - set(digests.computing(package))
    records = {p for name in SHOWN for p in root.glob(name) if p.is_file()}
    return {
        "code": digests.code_digest(package),
        "figures": digests.of_files(figures, root),
        "lock": digests.of_files([lock] if lock.exists() else [], root),
        "data": " ".join(data_digest(name) for name in ("cifar10", "speech_commands")),
        "shown": digests.of_files(shown, root),
        "results": digests.of_files(records, root),
    }


def key_of(parts: dict[str, str]) -> str:
    """One short name for all ingredients of notebooks; the others are of pages."""
    from rlap.files import digests

    ours = {k: v for k, v in parts.items() if k not in OF_PAGES}
    return digests.of_json(ours)[:16]


def explain(parts: dict[str, str], memory: Path) -> str:
    """Say what changed since the build that wrote `memory`, then remember `parts`."""
    try:
        before = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = None
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")
    if before is None:
        return "no earlier build here: every notebook runs"
    news = [name for name, value in parts.items() if before.get(name) != value]
    if not news:
        return f"{', '.join(parts)} as before: unchanged notebooks are reused"
    told = f"{' and '.join(news)} changed since the last build"
    if set(news) <= set(OF_PAGES):
        return f"{told}: the pages of results run, unchanged notebooks are reused"
    return f"{told}: every notebook runs"


def mathjax_file() -> Path | None:
    """The one MathJax file that the pages need, if its package is installed."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / "static" / MATHJAX
    return file if file.exists() else None


def configure(app: Any, config: Any) -> None:
    """Point Sphinx at the keyed cache and the local MathJax; one search field."""
    build = ROOT / "_build"
    parts = ingredients()
    config.nb_execution_cache_path = str(build / ".jupyter_cache" / key_of(parts))
    print("execution cache:", explain(parts, build / "cache_key.json"))
    print("\n".join(data_lines()))
    app.rlap_results = " ".join(parts[name] for name in OF_PAGES)

    # The sidebar has a search field; a second one would open a bar for itself.
    config.html_theme_options["navbar_persistent"] = []
    # The sidebar names pages; deeper, every page would copy all headings of all pages.
    config.html_theme_options["navigation_depth"] = 1

    if file := mathjax_file():
        config.mathjax_path = MATHJAX

        def install(app: Any, failure: Exception | None) -> None:
            copy = Path(app.outdir) / "_static" / MATHJAX
            if failure is None and app.builder.format == "html" and not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)

        app.connect("build-finished", install)


def as_make_does(root: Path = ROOT) -> None:
    """Set what the Makefile sets, so that a build by hand is the same: the folder with
    data beside the checkout, and the allocator's settings for the kernels."""
    from rlap.runs import KEEP_MEMORY

    beside = root.parent / "shared" / "data"
    if beside.is_dir():
        os.environ.setdefault("RLAP_DATA", str(beside))
    for name, value in KEEP_MEMORY.items():
        os.environ.setdefault(name, value)


def collect_less(app: Any) -> None:
    """Look for garbage more rarely. Pages are trees of millions of small objects that
    stay until the end; looking through them took a seventh of the time in which a page
    edited alone was there, and a tenth more when Python ended."""
    gc.set_threshold(1_000_000)
    app.connect("build-finished", lambda *_: gc.freeze(), priority=999)


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx before it reads the table of contents."""
    collect_less(app)
    # Autodoc and the kernels find the package even where it is not installed.
    sys.path.insert(0, str(ROOT))
    known = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT)] + ([known] if known else []))
    as_make_does()
    stage(ROOT / "notebooks", BOOK / "notebooks")
    app.connect("config-inited", configure, priority=1)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
